package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/dataplane/pull"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// What each side sells.
const (
	ours   = `{"from":"Boreal Drives"}`
	theirs = `{"from":"EDC"}`
)

// field is the two companies and the server behind EDC's assets.
type field struct {
	edc    *edc
	us     *company
	seller seller // whom EDC buys from
	source string
}

// hear lets us answer a step that EDC has noted.
func (f *field) hear(e event) {
	err := f.us.noted(context.Background(), e)
	for range 20 { // a decision that took too long on a busy machine says itself that one is to try again
		if !fault.Is(err, fault.Unavailable) {
			break
		}
		err = f.us.noted(context.Background(), e)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "interop: not answered: %s: %v\n", e.Type, err)
	}
}

// seller is a connector as EDC's operator knows it.
type seller struct{ id, base string }

// scenario is played on a field of type F.
type scenario[F any] struct {
	name string
	run  func(f F, ctx context.Context) error
}

// buying is what happens when we are the consumer, selling when EDC is.
var (
	buying = []scenario[*field]{
		{"version discovery and catalog", (*field).weReadTheCatalog},
		{"negotiation, transfer, bytes", (*field).wePull},
		{"EDC's policy refuses, with reason", (*field).weAreRefused},
		{"we terminate a transfer", (*field).weEndATransfer},
		{"EDC terminates a transfer, with reason", (*field).weAreEnded},
		{"we suspend, and resume", (*field).wePause},
		{"EDC suspends, and resumes", (*field).wePausedByEDC},
		{"both restart before the request is answered", (*field).weRestart},
	}
	selling = []scenario[*field]{
		{"catalog", (*field).theyReadTheCatalog},
		{"negotiation, transfer, bytes", (*field).theyPull},
		{"our policy refuses, with reason", (*field).theyAreRefused},
		{"we terminate a negotiation, with reason", (*field).theirRequestIsDeclined},
		{"EDC terminates a negotiation", (*field).theyWithdraw},
		{"we terminate a transfer: the token ends", (*field).theyAreEnded},
		{"EDC terminates a transfer: the token ends", (*field).theyEnd},
		{"we suspend, and resume", (*field).theyArePaused},
		{"EDC suspends, and resumes", (*field).theyPause},
		{"we restart in the middle of a negotiation", (*field).theySeeUsRestart},
		{"we are away when EDC asks", (*field).theyWaitForUs},
	}
	order = commit.Order{Actor: "interop", Reason: "the stock is sold"}
)

func want[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v, want %v", what, got, want)
	}
	return nil
}

func (f *field) weReadTheCatalog(ctx context.Context) error {
	c, err := f.us.stub.client.Catalog(ctx, f.us.local, edcID, "")
	if err != nil {
		return err
	}
	return errors.Join(want("datasets", len(c.Datasets), len(policies)), want("endpoint", c.Endpoint, f.edc.protocol()+"/2025-1"))
}

func (f *field) wePull(ctx context.Context) error {
	got, err := f.us.runner.Pull(ctx, f.us.local, exchange.Errand{Peer: edcID, Asset: "members", Fresh: true, Actor: "interop"})
	if err != nil {
		return err
	}
	text, err := io.ReadAll(got.Body)
	if err := errors.Join(err, got.Body.Close(), want("body", string(text), theirs)); err != nil {
		return err
	}
	t, err := f.us.Transfers().Complete(ctx, f.us.local, got.Transfer, order)
	if err != nil {
		return err
	}
	_, err = f.edc.reach(ctx, "/transferprocesses", t.PeerPID, "COMPLETED")
	return err
}

func (f *field) weAreRefused(ctx context.Context) error {
	_, err := f.us.runner.Agree(ctx, f.us.local, exchange.Errand{Peer: edcID, Asset: "governed", Fresh: true, Actor: "interop"})
	var refused *fault.Error
	if !errors.As(err, &refused) || refused.Kind != fault.Refused {
		return fmt.Errorf("got %w, want a refusal", err)
	}
	if !strings.Contains(strings.Join(refused.Reasons, " "), "FrameworkAgreement") {
		return fmt.Errorf("the reasons are %q, want the term", refused.Reasons)
	}
	return nil
}

// begun is a running transfer of ours.
func (f *field) begun(ctx context.Context) (transfer.Transfer, error) {
	contract, err := f.us.runner.Agree(ctx, f.us.local, exchange.Errand{Peer: edcID, Asset: "open", Actor: "interop"})
	if err != nil {
		return transfer.Transfer{}, err
	}
	t, err := f.us.Transfers().Begin(ctx, f.us.local, transfer.BeginRequest{Agreement: contract, Format: transfer.Pull, Actor: "interop"})
	if err != nil {
		return t, err
	}
	if t, err = f.transferIs(ctx, t.ID, transfer.Started); err != nil {
		return t, err
	}
	_, err = f.edc.reach(ctx, "/transferprocesses", t.PeerPID, "STARTED")
	return t, err
}

func (f *field) transferIs(ctx context.Context, id string, state transfer.State) (t transfer.Transfer, err error) {
	err = eventually(ctx, fmt.Sprintf("our transfer is %s", state), func() (bool, error) {
		t, err = f.us.Transfers().Get(ctx, f.us.local, id)
		if err == nil && t.State.Final() && t.State != state {
			err = fmt.Errorf("our transfer is %s: %s %q", t.State, t.Code, t.Reasons)
		}
		return t.State == state && t.Pending.Kind == "", err
	})
	return t, err
}

func (f *field) negotiationIs(ctx context.Context, id string, state negotiation.State) (n negotiation.Negotiation, err error) {
	err = eventually(ctx, fmt.Sprintf("our negotiation is %s", state), func() (bool, error) {
		n, err = f.us.Negotiations().Get(ctx, f.us.local, id)
		if err == nil && n.State.Final() && n.State != state {
			err = fmt.Errorf("our negotiation is %s: %s %q", n.State, n.Code, n.Reasons)
		}
		return n.State == state && n.Pending.Kind == "", err
	})
	return n, err
}

func (f *field) weEndATransfer(ctx context.Context) error {
	t, err := f.begun(ctx)
	if err != nil {
		return err
	}
	if _, err := f.us.Transfers().Terminate(ctx, f.us.local, t.ID, order); err != nil {
		return err
	}
	_, err = f.edc.reach(ctx, "/transferprocesses", t.PeerPID, "TERMINATED")
	return err
}

// ask is an order to EDC's operator.
func (f *field) ask(ctx context.Context, kind, id, verb string) error {
	body := object{"@context": vocab, "@id": id, "reason": order.Reason}
	switch {
	case verb == "suspend":
		body["@type"] = "SuspendTransfer"
	case verb == "resume":
		body = nil
	case kind == "/transferprocesses":
		body["@type"] = "TerminateTransfer"
	default:
		body["@type"] = "TerminateNegotiation"
	}
	if body == nil {
		return f.edc.call(ctx, http.MethodPost, kind+"/"+id+"/"+verb, nil, nil)
	}
	return f.edc.call(ctx, http.MethodPost, kind+"/"+id+"/"+verb, body, nil)
}

func (f *field) weAreEnded(ctx context.Context) error {
	t, err := f.begun(ctx)
	if err != nil {
		return err
	}
	if err := f.ask(ctx, "/transferprocesses", t.PeerPID, "terminate"); err != nil {
		return err
	}
	if t, err = f.transferIs(ctx, t.ID, transfer.Terminated); err != nil {
		return err
	}
	if !slices.Contains(t.Reasons, order.Reason) {
		return fmt.Errorf("the reasons are %q, want %q", t.Reasons, order.Reason)
	}
	return nil
}

// fetch gets the bytes of a running transfer of ours.
func (f *field) fetch(ctx context.Context, id string) error {
	address, err := f.us.Transfers().Address(ctx, f.us.local, id)
	if err != nil {
		return err
	}
	body, err := (pull.Fetcher{HTTP: f.us.stub.out}).Fetch(ctx, address, "")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(body)
	return errors.Join(err, body.Close(), want("body", string(text), theirs))
}

func (f *field) wePause(ctx context.Context) error {
	t, err := f.begun(ctx)
	if err != nil {
		return err
	}
	if _, err = f.us.Transfers().Suspend(ctx, f.us.local, t.ID, order); err != nil {
		return err
	}
	if _, err = f.edc.reach(ctx, "/transferprocesses", t.PeerPID, "SUSPENDED"); err != nil {
		return err
	}
	if _, err = f.transferIs(ctx, t.ID, transfer.Suspended); err != nil {
		return err
	}
	if _, err = f.us.Transfers().Resume(ctx, f.us.local, t.ID, order); err != nil {
		return err
	}
	if _, err = f.transferIs(ctx, t.ID, transfer.Started); err != nil {
		return err
	}
	return f.fetch(ctx, t.ID)
}

func (f *field) wePausedByEDC(ctx context.Context) error {
	t, err := f.begun(ctx)
	if err != nil {
		return err
	}
	if err = f.ask(ctx, "/transferprocesses", t.PeerPID, "suspend"); err != nil {
		return err
	}
	if _, err = f.transferIs(ctx, t.ID, transfer.Suspended); err != nil {
		return err
	}
	if _, err = f.edc.reach(ctx, "/transferprocesses", t.PeerPID, "SUSPENDED"); err != nil {
		return err
	}
	if err = f.ask(ctx, "/transferprocesses", t.PeerPID, "resume"); err != nil {
		return err
	}
	if _, err = f.transferIs(ctx, t.ID, transfer.Started); err != nil {
		return err
	}
	return f.fetch(ctx, t.ID)
}

// weRestart asks while EDC is away, and goes away itself: EDC keeps its processes in memory here, its offers come back with the seed.
func (f *field) weRestart(ctx context.Context) error {
	d, err := f.us.stub.client.Dataset(ctx, f.us.local, edcID, "members")
	if err != nil {
		return err
	}
	f.edc.stop()
	n, err := f.us.Negotiations().Begin(ctx, f.us.local, negotiation.BeginRequest{Peer: edcID, Actor: "interop",
		Offer: negotiation.Offer{ID: d.Offers[0].ID, Target: d.ID, Policy: d.Offers[0].Policy}})
	if err = errors.Join(err, f.us.close(), f.edc.start(ctx)); err != nil {
		return err
	}
	if err = errors.Join(f.edc.seed(ctx, f.source), f.us.start(ctx)); err != nil {
		return err
	}
	_, err = f.negotiationIs(ctx, n.ID, negotiation.Finalized)
	return err
}

const protocol = "dataspace-protocol-http:2025-1"

// dataset is one of the seller's datasets as EDC sees it: it hands the catalog on as it came.
func (f *field) dataset(ctx context.Context, id string) (d dataset, err error) {
	var c struct {
		Dataset []dataset `json:"dataset"`
	}
	err = f.edc.call(ctx, http.MethodPost, "/catalog/request", object{"@context": vocab, "@type": "CatalogRequest", "counterPartyAddress": f.seller.base,
		"counterPartyId": f.seller.id, "protocol": protocol}, &c)
	i := slices.IndexFunc(c.Dataset, func(d dataset) bool { return d.ID == id && len(d.HasPolicy) == 1 })
	if err != nil || i < 0 {
		return d, errors.Join(err, fmt.Errorf("no dataset %s with one offer in %+v", id, c))
	}
	return c.Dataset[i], nil
}

type dataset struct {
	ID        string   `json:"@id"`
	HasPolicy []object `json:"hasPolicy"`
}

func (f *field) theyReadTheCatalog(ctx context.Context) error {
	for id := range policies {
		if _, err := f.dataset(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// request lets EDC ask for a dataset of ours; it returns EDC's id of the negotiation.
func (f *field) request(ctx context.Context, dataset string) (string, error) {
	d, err := f.dataset(ctx, dataset)
	if err != nil {
		return "", err
	}
	return f.requestFor(ctx, d)
}

// requestFor repeats the offer as the management API of EDC wants it: with context, parties, and the terms by the names that the catalog gave
// them: EDC compares the agreement with what it asked for, letter by letter.
func (f *field) requestFor(ctx context.Context, d dataset) (string, error) {
	permission := object{"action": "use"}
	if terms := policies[d.ID]; len(terms) > 0 {
		permission["constraint"] = constraints("", terms)
	}
	var made object
	err := f.edc.call(ctx, http.MethodPost, "/contractnegotiations", object{"@context": vocab, "@type": "ContractRequest", "counterPartyAddress": f.seller.base,
		"protocol": protocol, "policy": object{"@context": "http://www.w3.org/ns/odrl.jsonld", "@type": "Offer", "@id": d.HasPolicy[0]["@id"],
			"assigner": f.seller.id, "target": d.ID, "permission": []object{permission}}}, &made)
	id, _ := made["@id"].(string)
	return id, err
}

// agreed is an agreement that EDC holds with us.
func (f *field) agreed(ctx context.Context, dataset string) (string, error) {
	id, err := f.request(ctx, dataset)
	if err != nil {
		return "", err
	}
	n, err := f.edc.reach(ctx, "/contractnegotiations", id, "FINALIZED")
	agreement, _ := n["contractAgreementId"].(string)
	return agreement, err
}

// pulling is a running transfer of EDC's and ours of it.
type pulling struct {
	id, own         string
	endpoint, token string
}

func (f *field) pulling(ctx context.Context, dataset string) (p pulling, err error) {
	contract, err := f.agreed(ctx, dataset)
	if err != nil {
		return p, err
	}
	if p.id, err = f.transferOf(ctx, contract); err != nil {
		return p, err
	}
	t, err := f.edc.reach(ctx, "/transferprocesses", p.id, "STARTED")
	if err != nil {
		return p, err
	}
	p.own, _ = t["correlationId"].(string)
	if _, err = f.transferIs(ctx, p.own, transfer.Started); err != nil {
		return p, err
	}
	return p, f.edr(ctx, &p)
}

// transferOf lets EDC ask for the data of an agreement; it returns EDC's id of the transfer.
func (f *field) transferOf(ctx context.Context, contract string) (string, error) {
	var made object
	err := f.edc.call(ctx, http.MethodPost, "/transferprocesses", object{"@context": vocab, "@type": "TransferRequest", "counterPartyAddress": f.seller.base,
		"contractId": contract, "protocol": protocol, "transferType": transfer.Pull}, &made)
	id, _ := made["@id"].(string)
	return id, err
}

// edr reads the data address that EDC keeps for its transfer.
func (f *field) edr(ctx context.Context, p *pulling) error {
	return eventually(ctx, "EDC has the address", func() (bool, error) {
		var address object
		if err := f.edc.call(ctx, http.MethodGet, "/edrs/"+p.id+"/dataaddress", nil, &address); err != nil {
			return false, nil // it is stored a moment after the start
		}
		p.address(address)
		return true, nil
	})
}

// address takes endpoint and token from what EDC shows.
func (p *pulling) address(properties map[string]any) {
	for _, prefix := range []string{"", "https://w3id.org/edc/v0.0.1/ns/"} { // 0.14 shortens its own names in its API, 0.15 does not
		if endpoint, ok := properties[prefix+"endpoint"].(string); ok {
			p.endpoint = endpoint
			p.token, _ = properties[prefix+"authorization"].(string)
		}
	}
}

// get asks our data plane with what EDC was given.
func (p pulling) get(ctx context.Context) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.endpoint, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", p.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// served checks what the token opens.
func (p pulling) served(ctx context.Context, open bool) error {
	status, text, err := p.get(ctx)
	switch {
	case err != nil:
		return err
	case open:
		return errors.Join(want("status", status, http.StatusOK), want("body", text, ours))
	case status < 400 || status > 499:
		return fmt.Errorf("the data plane answered %d, want a refusal", status)
	}
	return nil
}

func (f *field) theyPull(ctx context.Context) error {
	p, err := f.pulling(ctx, "members")
	if err != nil {
		return err
	}
	return p.served(ctx, true)
}

func (f *field) theyAreRefused(ctx context.Context) error {
	id, err := f.request(ctx, "governed")
	if err != nil {
		return err
	}
	if _, err = f.edc.reach(ctx, "/contractnegotiations", id, "TERMINATED"); err != nil {
		return err
	}
	return f.told(ctx, id, "FrameworkAgreement")
}

// told checks the reason that we sent: EDC takes it and shows it to nobody.
func (f *field) told(ctx context.Context, id, reason string) error {
	n, err := f.us.Store().NegotiationByPeerPID(ctx, f.us.local.ID, edcID, id)
	if err == nil && !strings.Contains(strings.Join(n.Reasons, " "), reason) {
		err = fmt.Errorf("EDC was told %q, want %q in it", n.Reasons, reason)
	}
	return err
}

// waiting is a negotiation that our operator has before him: EDC's id and ours.
func (f *field) waiting(ctx context.Context) (id, own string, err error) {
	if id, err = f.request(ctx, held); err != nil {
		return id, own, err
	}
	err = eventually(ctx, "EDC has asked", func() (bool, error) {
		n, err := f.us.Store().NegotiationByPeerPID(ctx, f.us.local.ID, edcID, id)
		if fault.Is(err, fault.NotFound) {
			return false, nil
		}
		own = n.ID
		return n.Held.Message != "", err
	})
	if err != nil {
		return id, own, err
	}
	_, err = f.edc.reach(ctx, "/contractnegotiations", id, "REQUESTED")
	return id, own, err
}

func (f *field) theirRequestIsDeclined(ctx context.Context) error {
	id, own, err := f.waiting(ctx)
	if err != nil {
		return err
	}
	if _, err = f.us.Negotiations().Terminate(ctx, f.us.local, own, order); err != nil {
		return err
	}
	if _, err = f.edc.reach(ctx, "/contractnegotiations", id, "TERMINATED"); err != nil {
		return err
	}
	return f.told(ctx, id, order.Reason)
}

func (f *field) theyWithdraw(ctx context.Context) error {
	id, own, err := f.waiting(ctx)
	if err != nil {
		return err
	}
	if err = f.ask(ctx, "/contractnegotiations", id, "terminate"); err != nil {
		return err
	}
	_, err = f.negotiationIs(ctx, own, negotiation.Terminated)
	return err
}

func (f *field) theyAreEnded(ctx context.Context) error {
	p, err := f.pulling(ctx, "open")
	if err != nil {
		return err
	}
	if _, err = f.us.Transfers().Terminate(ctx, f.us.local, p.own, order); err != nil {
		return err
	}
	if err = p.served(ctx, false); err != nil {
		return err
	}
	_, err = f.edc.reach(ctx, "/transferprocesses", p.id, "TERMINATED")
	return err
}

func (f *field) theyEnd(ctx context.Context) error {
	p, err := f.pulling(ctx, "open")
	if err != nil {
		return err
	}
	if err = f.ask(ctx, "/transferprocesses", p.id, "terminate"); err != nil {
		return err
	}
	if _, err = f.transferIs(ctx, p.own, transfer.Terminated); err != nil {
		return err
	}
	return p.served(ctx, false)
}

func (f *field) theyArePaused(ctx context.Context) error {
	p, err := f.pulling(ctx, "open")
	if err != nil {
		return err
	}
	if _, err = f.us.Transfers().Suspend(ctx, f.us.local, p.own, order); err != nil {
		return err
	}
	if _, err = f.edc.reach(ctx, "/transferprocesses", p.id, "SUSPENDED"); err != nil {
		return err
	}
	if _, err = f.transferIs(ctx, p.own, transfer.Suspended); err != nil {
		return err
	}
	if err = p.served(ctx, false); err != nil {
		return err
	}
	if _, err = f.us.Transfers().Resume(ctx, f.us.local, p.own, order); err != nil {
		return err
	}
	if _, err = f.edc.reach(ctx, "/transferprocesses", p.id, "STARTED"); err != nil {
		return err
	}
	return f.servedAgain(ctx, p)
}

// servedAgain waits until EDC has taken the new address, and uses it.
func (f *field) servedAgain(ctx context.Context, p pulling) error {
	old := p.token
	err := eventually(ctx, "EDC has a new token", func() (bool, error) {
		err := f.edr(ctx, &p)
		return p.token != old, err
	})
	if err != nil {
		return err
	}
	return p.served(ctx, true)
}

func (f *field) theyPause(ctx context.Context) error {
	p, err := f.pulling(ctx, "open")
	if err != nil {
		return err
	}
	if err = f.ask(ctx, "/transferprocesses", p.id, "suspend"); err != nil {
		return err
	}
	if _, err = f.transferIs(ctx, p.own, transfer.Suspended); err != nil {
		return err
	}
	if err = p.served(ctx, false); err != nil {
		return err
	}
	if _, err = f.edc.reach(ctx, "/transferprocesses", p.id, "SUSPENDED"); err != nil {
		return err
	}
	if err = f.ask(ctx, "/transferprocesses", p.id, "resume"); err != nil {
		return err
	}
	if _, err = f.transferIs(ctx, p.own, transfer.Started); err != nil {
		return err
	}
	return f.servedAgain(ctx, p)
}

func (f *field) theySeeUsRestart(ctx context.Context) error {
	id, own, err := f.waiting(ctx)
	if err != nil {
		return err
	}
	if err = errors.Join(f.us.close(), f.us.start(ctx)); err != nil {
		return err
	}
	if _, err = f.us.Negotiations().Approve(ctx, f.us.local, own, order); err != nil {
		return err
	}
	_, err = f.edc.reach(ctx, "/contractnegotiations", id, "FINALIZED")
	return err
}

func (f *field) theyWaitForUs(ctx context.Context) error {
	d, err := f.dataset(ctx, "members")
	if err != nil {
		return err
	}
	if err = f.us.close(); err != nil {
		return err
	}
	id, err := f.requestFor(ctx, d)
	if err = errors.Join(err, f.us.start(ctx)); err != nil {
		return err
	}
	_, err = f.edc.reach(ctx, "/contractnegotiations", id, "FINALIZED")
	return err
}
