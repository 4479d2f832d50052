package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
)

// joinHolding makes the wallets of the hosted participants, which owe messages and moments like everybody else. It comes after the outbox.
func (c *Connector) joinHolding() {
	s := c.cfg.Settings.Wallet
	c.wallet = wallet.New(wallet.Config{Store: c.store, Recorder: c.ledger, Issuers: c.issuers, Signatures: c.tokens, Documents: c.resolver, Statuses: standings{c.lists}, Trust: issuersOf(c.cfg.Settings.Profile),
		Codec: dcphttp.RequestCodec{}, Hosted: c.hosted, Outbox: c.outbox, Now: c.cfg.Now, Rand: c.cfg.Rand, Log: c.cfg.Log,
		Renew: s.Renew, Auto: s.Request, Look: s.Look, GiveUp: s.GiveUp})
	for _, kind := range []commit.ProcessKind{commit.WalletRequest, commit.WalletCredential, commit.WalletOffer} {
		c.senders[kind], c.owners[kind] = c.issuers, c.wallet
	}
}

// senders sends what is owed the way that its kind of process goes.
type senders map[commit.ProcessKind]outbox.Sender

func (s senders) of(o commit.Owed) (outbox.Sender, error) {
	sender, ok := s[o.Process]
	if !ok {
		return nil, fmt.Errorf("nobody sends for processes of kind %s", o.Process)
	}
	return sender, nil
}

// Send implements outbox.Sender.
func (s senders) Send(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	sender, err := s.of(o)
	if err != nil {
		return outbox.Answer{}, err
	}
	return sender.Send(ctx, o)
}

// Look implements outbox.Sender.
func (s senders) Look(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	sender, err := s.of(o)
	if err != nil {
		return outbox.Answer{}, err
	}
	return sender.Look(ctx, o)
}

// standings asks status lists how issuers stand by what is held.
type standings struct{ lists *credential.Lists }

// Status implements wallet.Statuses.
func (s standings) Status(ctx context.Context, c credential.Stored) (wallet.Standing, time.Time, error) {
	until, err := s.lists.Stands(ctx, c)
	switch {
	case errors.Is(err, credential.ErrRevoked):
		return wallet.Revoked, until, nil
	case errors.Is(err, credential.ErrSuspended):
		return wallet.Suspended, until, nil
	}
	return wallet.Good, until, err
}

// held is the wallet, which is joined after those who show what is in it.
type held struct{ c *Connector }

// Held implements credential.Wallet.
func (h held) Held(ctx context.Context, p participant.Participant) ([]credential.Stored, error) {
	return h.c.wallet.Held(ctx, p)
}

// trusted are the types that issuers are trusted for.
type trusted map[participant.DID][]string

func issuersOf(p settings.Profile) trusted {
	out := trusted{}
	for _, t := range p.Trust {
		did := participant.DID(t.Issuer)
		out[did] = append(out[did], t.Credentials...)
	}
	return out
}

// Types implements wallet.Trust.
func (t trusted) Types(issuer participant.DID) []string { return t[issuer] }

// PutCredential takes a credential into a participant's wallet.
func (c *Connector) PutCredential(ctx context.Context, local participant.Participant, jwt []byte) (wallet.Credential, error) {
	return c.wallet.Put(ctx, local, jwt, "program")
}

// Wallet is what the hosted participants hold, ask for and are offered.
func (c *Connector) Wallet() *wallet.Service { return c.wallet }
