package sqlstore

import (
	"context"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wallet"
)

func credentialVersion(c *wallet.Credential, v int64) { c.Version = v }
func requestVersion(r *wallet.Request, v int64)       { r.Version = v }
func offerVersion(o *wallet.Offer, v int64)           { o.Version = v }

// Credentials implements wallet.Store.
func (s *Store) Credentials(ctx context.Context, p participant.ID) ([]wallet.Credential, error) {
	return documents(ctx, s, credentialVersion, `SELECT doc, version FROM credentials WHERE participant = $1 ORDER BY created, id`, int64(p))
}

// Credential implements wallet.Store.
func (s *Store) Credential(ctx context.Context, p participant.ID, id string) (wallet.Credential, error) {
	return one(ctx, s, credentialVersion, `SELECT doc, version FROM credentials WHERE participant = $1 AND id = $2`, int64(p), id)
}

// CredentialRequest implements wallet.Store.
func (s *Store) CredentialRequest(ctx context.Context, p participant.ID, issuer participant.DID, id string) (wallet.Request, error) {
	if issuer == "" {
		return one(ctx, s, requestVersion, `SELECT doc, version FROM credential_requests WHERE participant = $1 AND id = $2`, int64(p), id)
	}
	return one(ctx, s, requestVersion, `SELECT doc, version FROM credential_requests WHERE participant = $1 AND id = $2 AND issuer = $3`,
		int64(p), id, string(issuer))
}

// CredentialRequests implements wallet.Store.
func (s *Store) CredentialRequests(ctx context.Context, p participant.ID, f wallet.Filter, r page.Request) (page.Of[wallet.Request], error) {
	l := list{}
	l.and("participant = ?", int64(p))
	l.andIf(f.Issuer != "", "issuer = ?", string(f.Issuer))
	l.andIf(f.State != "", "state = ?", f.State)
	items, err := documents(ctx, s, requestVersion, l.paged("doc, version", "credential_requests", r), l.args...)
	return cut(items, r, func(q wallet.Request) page.Key { return page.Key{Created: q.Created, ID: q.ID} }), err
}

// OpenCredentialRequests implements wallet.Store.
func (s *Store) OpenCredentialRequests(ctx context.Context, p participant.ID, issuer participant.DID, limit int) ([]wallet.Request, error) {
	return documents(ctx, s, requestVersion, `SELECT doc, version FROM credential_requests WHERE participant = $1 AND issuer = $2
		AND state IN ('CREATED', 'REQUESTING', 'REQUESTED') ORDER BY created, id LIMIT $3`, int64(p), string(issuer), limit)
}

// CredentialOffer implements wallet.Store.
func (s *Store) CredentialOffer(ctx context.Context, p participant.ID, id string) (wallet.Offer, error) {
	return one(ctx, s, offerVersion, `SELECT doc, version FROM credential_offers WHERE participant = $1 AND id = $2`, int64(p), id)
}

// CredentialOffers implements wallet.Store.
func (s *Store) CredentialOffers(ctx context.Context, p participant.ID, f wallet.Filter, r page.Request) (page.Of[wallet.Offer], error) {
	l := list{}
	l.and("participant = ?", int64(p))
	l.andIf(f.Issuer != "", "issuer = ?", string(f.Issuer))
	l.andIf(f.State != "", "state = ?", f.State)
	items, err := documents(ctx, s, offerVersion, l.paged("doc, version", "credential_offers", r), l.args...)
	return cut(items, r, func(o wallet.Offer) page.Key { return page.Key{Created: o.Created, ID: o.ID} }), err
}

// OpenCredentialOffers implements wallet.Store.
func (s *Store) OpenCredentialOffers(ctx context.Context, p participant.ID, issuer participant.DID, limit int) ([]wallet.Offer, error) {
	return documents(ctx, s, offerVersion, `SELECT doc, version FROM credential_offers WHERE participant = $1 AND issuer = $2 AND state = 'RECEIVED'
		ORDER BY created, id LIMIT $3`, int64(p), string(issuer), limit)
}

// TokenClients implements wallet.Store.
func (s *Store) TokenClients(ctx context.Context, p participant.ID) ([]wallet.Client, error) {
	var out []wallet.Client
	err := s.query(ctx, func(row scanner) error {
		var doc string
		if err := row.Scan(&doc); err != nil {
			return err
		}
		var c wallet.Client
		err := decode(doc, &c)
		out = append(out, c)
		return err
	}, `SELECT doc FROM token_clients WHERE participant = $1 ORDER BY created, id`, int64(p))
	return out, err
}

// CommitWallet implements wallet.Store. What is settled goes first: its process may owe the next one.
func (s *Store) CommitWallet(ctx context.Context, p participant.ID, c wallet.Change, e commit.Effects) error {
	return s.update(ctx, func(_ context.Context, t *tx) error {
		for _, id := range c.Settled {
			t.exec(`DELETE FROM owed WHERE id = $1 AND participant = $2`, id, int64(p))
		}
		if err := swapAll(t, commitWallet, p, "credentials", c.Credentials, func(c wallet.Credential) swapped { return swapped{id: c.ID, version: c.Version, created: c.Created} }); err != nil {
			return err
		}
		if err := swapAll(t, commitWallet, p, "credential_requests", c.Requests, func(r wallet.Request) swapped {
			return swapped{r.ID, r.Version, r.Created, []column{{"issuer", string(r.Issuer)}, {"state", string(r.State)}}}
		}); err != nil {
			return err
		}
		if err := swapAll(t, commitWallet, p, "credential_offers", c.Offers, func(o wallet.Offer) swapped {
			return swapped{o.ID, o.Version, o.Created, []column{{"issuer", string(o.Issuer)}, {"state", string(o.State)}, {"digest", o.Digest}}}
		}); err != nil {
			return err
		}
		for _, x := range c.Clients {
			if err := t.keepClient(p, x); err != nil {
				return err
			}
		}
		for _, o := range c.Owed {
			if err := t.owe(o); err != nil {
				return err
			}
		}
		return t.effects(p, e)
	})
}

const commitWallet = "store.CommitWallet"

// keepClient writes or ends a client, which never changes in between.
func (t *tx) keepClient(p participant.ID, x commit.Swap[wallet.Client]) error {
	if x.New == nil {
		t.one(errStale(commitWallet, x.Old.ID), `DELETE FROM token_clients WHERE participant = $1 AND id = $2`, int64(p), x.Old.ID)
		return nil
	}
	doc, err := encode(*x.New)
	if err != nil {
		return err
	}
	t.exec(`INSERT INTO token_clients (participant, id, created, doc) VALUES ($1, $2, $3, $4)`, int64(p), x.New.ID, micros(x.New.Created), doc)
	return nil
}
