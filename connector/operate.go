package connector

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
)

// host makes a participant ready to be served: keys, mark of its log, row, decision log. What comes first is there when the rest is, so that
// a log without mark is known to have lost it.
func (c *Connector) host(ctx context.Context, slug, name string) (participant.Participant, error) {
	if p, err := c.hosted.Participant(ctx, slug); err == nil {
		return p, nil
	}
	keys, err := c.hosted.draw(slug)
	if err != nil {
		return participant.Participant{}, err
	}
	if err := c.ledger.begin(ctx, slug, keys); err != nil {
		return participant.Participant{}, err
	}
	p, err := c.hosted.create(ctx, slug, name, c.cfg.Settings.Public.Host, keys)
	if err != nil {
		return p, err
	}
	return p, c.ledger.open(ctx, p, keys)
}

// CreateParticipant hosts one more company: keys, DID document and log come into being with it.
func (c *Connector) CreateParticipant(ctx context.Context, slug, name, _ string) (participant.Participant, error) {
	if err := participant.ValidSlug(slug); err != nil {
		return participant.Participant{}, fault.New("connector.CreateParticipant", fault.Malformed, "%s", err.Error())
	}
	if _, err := c.hosted.Participant(ctx, slug); err == nil {
		return participant.Participant{}, &fault.Error{Op: "connector.CreateParticipant", Kind: fault.Conflict, Subject: slug, Reason: "a participant of this slug is hosted already"}
	}
	p, err := c.host(ctx, slug, name)
	if err == nil {
		c.start <- p
	}
	return p, err
}

// PutCredential takes a credential into a participant's wallet.
func (c *Connector) PutCredential(ctx context.Context, local participant.Participant, jwt []byte, _ string) (store.Credential, error) {
	read, err := credential.Read(string(jwt), local.DID)
	if err != nil {
		return store.Credential{}, fault.New("connector.PutCredential", fault.Malformed, "%s", err.Error())
	}
	row := store.Credential{Participant: local.ID, ID: read.ID, Types: read.Types, Issuer: participant.DID(read.Fact.Issuer), Raw: jwt,
		NotAfter: read.Fact.NotAfter, Created: c.cfg.Now()}
	return row, c.store.PutCredential(ctx, row)
}

// Issue signs a credential as a hosted authority.
func (c *Connector) Issue(_ context.Context, authority participant.Participant, holder participant.DID, kind string, subject map[string]string, life time.Duration) ([]byte, error) {
	keys, err := c.hosted.Keys(authority)
	if err != nil {
		return nil, err
	}
	issuer := credential.Issuer{DID: authority.DID, Keys: keys, Now: c.cfg.Now, Rand: c.cfg.Rand}
	_, token, err := issuer.Issue(holder, kind, subject, life)
	return []byte(token), err
}

// VerifierKey is the public key of a participant's decision log.
func (c *Connector) VerifierKey(_ context.Context, local participant.Participant) (string, error) {
	s, err := c.ledger.sequencer(local.Slug)
	if err != nil {
		return "", err
	}
	return s.VerifierKey(), nil
}

// Export writes a participant's decision log into dir, which must not exist.
func (c *Connector) Export(ctx context.Context, local participant.Participant, dir string) error {
	s, err := c.ledger.sequencer(local.Slug)
	if err != nil {
		return err
	}
	return s.Export(ctx, dir)
}

// Retire ends an agreement early and stops what runs under it before it returns.
func (c *Connector) Retire(ctx context.Context, local participant.Participant, id, actor, reason string) error {
	_, err := c.transfers.Retire(ctx, local, c.store, id, actor, reason)
	return err
}
