package catalog_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
)

// shelf is a peer's catalog of one dataset for each page.
type shelf []catalog.RemoteDataset

func (s shelf) Catalog(_ context.Context, _ participant.Participant, _ participant.DID, next string) (catalog.Remote, error) {
	at, _ := strconv.Atoi(next)
	r := catalog.Remote{Datasets: s[at : at+1]}
	if at+1 < len(s) {
		r.Next = strconv.Itoa(at + 1)
	}
	return r, nil
}

func (s shelf) Dataset(_ context.Context, _ participant.Participant, _ participant.DID, id string) (catalog.RemoteDataset, error) {
	for _, d := range s {
		if d.ID == id {
			return d, nil
		}
	}
	return catalog.RemoteDataset{}, fault.New("test", fault.NotFound, "no such dataset")
}

func TestAnOfferIsFoundByItsIdItsDatasetOrBoth(t *testing.T) {
	t.Parallel()
	finder := catalog.Finder{Peers: shelf{{ID: "cell", Offers: []catalog.RemoteOffer{{ID: "c1"}, {ID: "c2"}}}, {ID: "bare"}, {ID: "pack", Offers: []catalog.RemoteOffer{{ID: "p1"}}}}}
	for _, tt := range []struct {
		name, dataset, offer, wantDataset, wantOffer string
		want                                         fault.Kind
	}{
		{name: "by its id, on the last page", offer: "p1", wantDataset: "pack", wantOffer: "p1"},
		{name: "the first of a dataset", dataset: "cell", wantDataset: "cell", wantOffer: "c1"},
		{name: "by both", dataset: "cell", offer: "c2", wantDataset: "cell", wantOffer: "c2"},
		{name: "not in another dataset", dataset: "cell", offer: "p1", want: fault.NotFound},
		{name: "not where nothing is offered", dataset: "bare", want: fault.NotFound},
		{name: "not in a dataset that is not there", dataset: "nothing", offer: "c1", want: fault.NotFound},
		{name: "not when no page has it", offer: "x", want: fault.NotFound},
		{name: "not when nothing is asked for", want: fault.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dataset, offer, err := finder.Find(t.Context(), participant.Participant{}, "did:web:peer", tt.dataset, tt.offer)
			if (err != nil) != (tt.wantOffer == "") || err != nil && !fault.Is(err, tt.want) || dataset != tt.wantDataset || offer.ID != tt.wantOffer {
				t.Errorf("got %q of %q, %v; want %q of %q, %v", offer.ID, dataset, err, tt.wantOffer, tt.wantDataset, tt.want)
			}
		})
	}
}
