package sqlstore

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
)

var _ issuer.Store = (*Store)(nil)

func issuerDefinitionVersion(d *issuer.Definition, v int64) { d.Version = v }
func issuerHolderVersion(h *issuer.Holder, v int64)         { h.Version = v }
func issuerRequestVersion(r *issuer.Request, v int64)       { r.Version = v }
func issuerCredentialVersion(c *issuer.Credential, v int64) { c.Version = v }
func issuerOfferVersion(o *issuer.Offer, v int64)           { o.Version = v }

// Authority implements issuer.Store.
func (s *Store) Authority(ctx context.Context, p participant.ID) (issuer.Authority, error) {
	a := issuer.Authority{Participant: p}
	err := s.get(ctx, func(row scanner) error {
		var since int64
		err := row.Scan(&since)
		a.Since = fromMicros(since)
		return err
	}, `SELECT since FROM issuers WHERE participant = $1`, int64(p))
	return a, err
}

// IssuerDefinition implements issuer.Store.
func (s *Store) IssuerDefinition(ctx context.Context, p participant.ID, id string) (issuer.Definition, error) {
	return one(ctx, s, issuerDefinitionVersion, `SELECT doc, version FROM issuer_definitions WHERE participant = $1 AND id = $2`, int64(p), id)
}

// IssuerDefinitions implements issuer.Store.
func (s *Store) IssuerDefinitions(ctx context.Context, p participant.ID) ([]issuer.Definition, error) {
	return documents(ctx, s, issuerDefinitionVersion, `SELECT doc, version FROM issuer_definitions WHERE participant = $1 ORDER BY id`, int64(p))
}

// IssuerHolder implements issuer.Store.
func (s *Store) IssuerHolder(ctx context.Context, p participant.ID, did participant.DID) (issuer.Holder, error) {
	return one(ctx, s, issuerHolderVersion, `SELECT doc, version FROM issuer_holders WHERE participant = $1 AND id = $2`, int64(p), string(did))
}

// IssuerHolders implements issuer.Store.
func (s *Store) IssuerHolders(ctx context.Context, p participant.ID, r page.Request) (page.Of[issuer.Holder], error) {
	l := list{}
	l.and("participant = ?", int64(p))
	items, err := documents(ctx, s, issuerHolderVersion, l.paged("doc, version", "issuer_holders", r), l.args...)
	return cut(items, r, func(h issuer.Holder) page.Key { return page.Key{Created: h.Created, ID: string(h.DID)} }), err
}

// IssuerHoldersOf implements issuer.Store.
func (s *Store) IssuerHoldersOf(ctx context.Context, p participant.ID, dids []participant.DID) ([]issuer.Holder, error) {
	var out []issuer.Holder
	for some := range slices.Chunk(dids, 1000) {
		args := []any{int64(p)}
		for _, did := range some {
			args = append(args, string(did))
		}
		found, err := documents(ctx, s, issuerHolderVersion, `SELECT doc, version FROM issuer_holders WHERE participant = $1 AND id IN `+numbered(2, len(some)), args...)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// numbered are n arguments in brackets, from one on.
func numbered(from, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(map[bool]string{true: "(", false: ", "}[i == 0] + "$" + strconv.Itoa(from+i))
	}
	return b.String() + ")"
}

// IssuerRequest implements issuer.Store.
func (s *Store) IssuerRequest(ctx context.Context, p participant.ID, holder participant.DID, id string) (issuer.Request, error) {
	if holder == "" {
		return one(ctx, s, issuerRequestVersion, `SELECT doc, version FROM issuer_requests WHERE participant = $1 AND id = $2`, int64(p), id)
	}
	return one(ctx, s, issuerRequestVersion, `SELECT doc, version FROM issuer_requests WHERE participant = $1 AND id = $2 AND holder = $3`, int64(p), id, string(holder))
}

func issuerList(p participant.ID, f issuer.Filter) *list {
	l := &list{}
	l.and("participant = ?", int64(p))
	l.andIf(f.Holder != "", "holder = ?", string(f.Holder))
	l.andIf(f.State != "", "state = ?", f.State)
	l.andIf(f.Definition != "", "definition = ?", f.Definition)
	return l
}

// IssuerRequests implements issuer.Store.
func (s *Store) IssuerRequests(ctx context.Context, p participant.ID, f issuer.Filter, r page.Request) (page.Of[issuer.Request], error) {
	f.Definition = "" // a request may want several
	l := issuerList(p, f)
	items, err := documents(ctx, s, issuerRequestVersion, l.paged("doc, version", "issuer_requests", r), l.args...)
	return cut(items, r, func(v issuer.Request) page.Key { return page.Key{Created: v.Created, ID: v.ID} }), err
}

// IssuerRepeated implements issuer.Store.
func (s *Store) IssuerRepeated(ctx context.Context, p participant.ID, holder participant.DID, digest string) (issuer.Request, error) {
	return one(ctx, s, issuerRequestVersion, `SELECT doc, version FROM issuer_requests WHERE participant = $1 AND holder = $2 AND digest = $3 AND digest <> ''
		AND state IN ('SUBMITTED', 'APPROVED')`, int64(p), string(holder), digest)
}

// IssuerOwed implements issuer.Store.
func (s *Store) IssuerOwed(ctx context.Context, p participant.ID, id string) (o commit.Owed, err error) {
	var attempt int
	err = s.get(ctx, func(row scanner) error {
		var doc string
		if err := row.Scan(&doc, &attempt); err != nil {
			return err
		}
		return decode(doc, &o)
	}, `SELECT doc, attempt FROM owed WHERE participant = $1 AND id = $2`, int64(p), id)
	o.Attempt = attempt
	return o, err
}

// IssuerRequested implements issuer.Store.
func (s *Store) IssuerRequested(ctx context.Context, p participant.ID, holder participant.DID, since time.Time, limit int) (n int, err error) {
	err = s.get(ctx, func(row scanner) error { return row.Scan(&n) }, `SELECT COUNT(*) FROM (SELECT 1 FROM issuer_requests
		WHERE participant = $1 AND holder = $2 AND created > $3 LIMIT $4) AS recent`, int64(p), string(holder), micros(since), limit)
	return n, err
}

// IssuerCredential implements issuer.Store.
func (s *Store) IssuerCredential(ctx context.Context, p participant.ID, id string) (issuer.Credential, error) {
	return one(ctx, s, issuerCredentialVersion, `SELECT doc, version FROM issuer_credentials WHERE participant = $1 AND id = $2`, int64(p), id)
}

// IssuerCredentials implements issuer.Store.
func (s *Store) IssuerCredentials(ctx context.Context, p participant.ID, f issuer.Filter, r page.Request) (page.Of[issuer.Credential], error) {
	l := issuerList(p, f)
	items, err := documents(ctx, s, issuerCredentialVersion, l.paged("doc, version", "issuer_credentials", r), l.args...)
	return cut(items, r, func(c issuer.Credential) page.Key { return page.Key{Created: c.Issued, ID: c.ID} }), err
}

// IssuerOffer implements issuer.Store.
func (s *Store) IssuerOffer(ctx context.Context, p participant.ID, id string) (issuer.Offer, error) {
	return one(ctx, s, issuerOfferVersion, `SELECT doc, version FROM issuer_offers WHERE participant = $1 AND id = $2`, int64(p), id)
}

// IssuerOffers implements issuer.Store.
func (s *Store) IssuerOffers(ctx context.Context, p participant.ID, f issuer.Filter, r page.Request) (page.Of[issuer.Offer], error) {
	f.Definition = ""
	l := issuerList(p, f)
	items, err := documents(ctx, s, issuerOfferVersion, l.paged("doc, version", "issuer_offers", r), l.args...)
	return cut(items, r, func(o issuer.Offer) page.Key { return page.Key{Created: o.Created, ID: o.ID} }), err
}

// IssuerList implements issuer.Store.
func (s *Store) IssuerList(ctx context.Context, p participant.ID, id string) (issuer.List, error) {
	l := issuer.List{Participant: p, ID: id}
	err := s.get(ctx, func(row scanner) error {
		var created, updated int64
		err := row.Scan(&l.Version, &l.Profile, &l.Purpose, &l.Size, &l.Taken, &l.Bits, &created, &updated)
		l.Created, l.Updated = fromMicros(created), fromMicros(updated)
		return err
	}, `SELECT version, profile, purpose, size, taken, bits, created, updated FROM issuer_lists WHERE participant = $1 AND id = $2`, int64(p), id)
	return l, err
}

// IssuerListVersion implements issuer.Store.
func (s *Store) IssuerListVersion(ctx context.Context, p participant.ID, id string) (version int64, err error) {
	err = s.get(ctx, func(row scanner) error { return row.Scan(&version) }, `SELECT version FROM issuer_lists WHERE participant = $1 AND id = $2`, int64(p), id)
	return version, err
}

// IssuerLists implements issuer.Store.
func (s *Store) IssuerLists(ctx context.Context, p participant.ID, profile, purpose string) ([]issuer.List, error) {
	var out []issuer.List
	err := s.query(ctx, func(row scanner) error {
		l := issuer.List{Participant: p, Profile: profile, Purpose: purpose}
		var created, updated int64
		err := row.Scan(&l.ID, &l.Version, &l.Size, &l.Taken, &created, &updated)
		l.Created, l.Updated = fromMicros(created), fromMicros(updated)
		out = append(out, l)
		return err
	}, `SELECT id, version, size, taken, created, updated FROM issuer_lists WHERE participant = $1 AND profile = $2 AND purpose = $3 ORDER BY created, id`,
		int64(p), profile, purpose)
	return out, err
}

// IssuerTaken implements issuer.Store.
func (s *Store) IssuerTaken(ctx context.Context, p participant.ID, id string, indexes []int) ([]int, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	args := []any{int64(p), id}
	for _, n := range indexes {
		args = append(args, int64(n))
	}
	var out []int
	err := s.query(ctx, func(row scanner) error {
		var n int
		err := row.Scan(&n)
		out = append(out, n)
		return err
	}, `SELECT idx FROM issuer_places WHERE participant = $1 AND list = $2 AND idx IN `+numbered(3, len(indexes)), args...)
	return out, err
}

const commitIssuer = "store.CommitIssuer"

// CommitIssuer implements issuer.Store.
func (s *Store) CommitIssuer(ctx context.Context, p participant.ID, c issuer.Changes, e commit.Effects) error {
	return s.update(ctx, func(_ context.Context, t *tx) error {
		if c.Authority != nil {
			t.exec(`INSERT INTO issuers (participant, since) VALUES ($1, $2) ON CONFLICT DO NOTHING`, int64(p), micros(c.Authority.Since))
		}
		if err := swapAll(t, commitIssuer, p, "issuer_definitions", c.Definitions, func(d issuer.Definition) swapped { return swapped{id: d.ID, version: d.Version, created: d.Created} }); err != nil {
			return err
		}
		if err := swapAll(t, commitIssuer, p, "issuer_holders", c.Holders, func(h issuer.Holder) swapped {
			return swapped{id: string(h.DID), version: h.Version, created: h.Created}
		}); err != nil {
			return err
		}
		if err := swapAll(t, commitIssuer, p, "issuer_requests", c.Requests, func(r issuer.Request) swapped {
			return swapped{r.ID, r.Version, r.Created, []column{{"holder", string(r.Holder)}, {"state", string(r.State)}, {"digest", r.Digest}}}
		}); err != nil {
			return err
		}
		for _, l := range c.Lists {
			t.swapList(p, l)
		}
		if err := swapAll(t, commitIssuer, p, "issuer_credentials", c.Credentials, func(c issuer.Credential) swapped {
			return swapped{c.ID, c.Version, c.Issued, []column{{"holder", string(c.Holder)}, {"definition", c.Definition}, {"state", string(c.Standing)}}}
		}); err != nil {
			return err
		}
		for _, made := range c.Credentials {
			if made.Old == nil {
				t.places(p, *made.New, c.Fill)
			}
		}
		if err := swapAll(t, commitIssuer, p, "issuer_offers", c.Offers, func(o issuer.Offer) swapped {
			return swapped{o.ID, o.Version, o.Created, []column{{"holder", string(o.Holder)}, {"state", string(o.State)}}}
		}); err != nil {
			return err
		}
		return t.effects(p, e)
	})
}

// swapList writes a list. What was taken is counted by those who take it, so that they need not agree on a version.
func (t *tx) swapList(p participant.ID, l commit.Swap[issuer.List]) {
	next := l.New
	if l.Old == nil {
		t.exec(`INSERT INTO issuer_lists (participant, id, version, profile, purpose, size, taken, bits, created, updated) VALUES ($1, $2, 1, $3, $4, $5, 0, $6, $7, $8)`,
			int64(p), next.ID, next.Profile, next.Purpose, int64(next.Size), next.Bits, micros(next.Created), micros(next.Updated))
		return
	}
	t.one(errStale(commitIssuer, next.ID), `UPDATE issuer_lists SET version = version + 1, bits = $4, updated = $5 WHERE participant = $1 AND id = $2 AND version = $3`,
		int64(p), next.ID, l.Old.Version, next.Bits, micros(next.Updated))
}

func (t *tx) places(p participant.ID, c issuer.Credential, fill int) {
	for _, place := range c.Places {
		t.one(errStale(commitIssuer, place.List), `UPDATE issuer_lists SET taken = taken + 1 WHERE participant = $1 AND id = $2 AND taken < $3`, int64(p), place.List, int64(fill))
		t.exec(`INSERT INTO issuer_places (participant, list, idx, credential) VALUES ($1, $2, $3, $4)`, int64(p), place.List, int64(place.Index), c.ID)
	}
}
