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
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
)

// joinHolding makes the wallets of the hosted participants, which owe messages and moments like everybody else. It comes after the outbox.
func (c *Connector) joinHolding() {
	s := c.cfg.Settings.Wallet
	c.wallet = wallet.New(wallet.Config{Store: c.store, Recorder: c.ledger, Issuers: c.issuers, Signatures: c.tokens, Documents: c.resolver, Statuses: c.ecosystems, Trust: c.ecosystems,
		Codec: dcphttp.RequestCodec{}, Hosted: c.hosted, Outbox: c.outbox, Now: c.cfg.Now, Rand: c.cfg.Rand, Log: c.cfg.Log,
		Aliases: c.ecosystems.aliases, Renew: s.Renew, Auto: s.Request, Look: s.Look, GiveUp: s.GiveUp, Watch: s.Watch, Informal: c.informal})
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

// Revocable implements wallet.Statuses.
func (e *ecosystems) Revocable(c credential.Stored) bool { return credential.Revocable(c) }

// AtHand implements wallet.Statuses: by the status lists of the participant's ecosystem.
func (e *ecosystems) AtHand(local participant.Participant, c credential.Stored) (wallet.Standing, bool) {
	lists := e.of(local).lists
	if lists == nil {
		return "", false
	}
	ok, err := lists.AtHand(c)
	standing, _ := standingOf(err)
	return standing, ok
}

// Status implements wallet.Statuses: by the status lists of the participant's ecosystem.
func (e *ecosystems) Status(ctx context.Context, local participant.Participant, c credential.Stored) (wallet.Standing, time.Time, error) {
	lists := e.of(local).lists
	if lists == nil {
		return "", time.Time{}, noProfile(local)
	}
	until, err := lists.Stands(ctx, c)
	standing, err := standingOf(err)
	return standing, until, err
}

func noProfile(local participant.Participant) error {
	return fmt.Errorf("participant %s: there is no profile %q in the settings", local.Slug, local.Profile)
}

func standingOf(err error) (wallet.Standing, error) {
	switch {
	case errors.Is(err, credential.ErrRevoked):
		return wallet.Revoked, nil
	case errors.Is(err, credential.ErrSuspended):
		return wallet.Suspended, nil
	}
	return wallet.Good, err
}

// Types implements wallet.Trust: by what the participant's ecosystem believes at the moment.
func (e *ecosystems) Types(local participant.Participant, issuer participant.DID) []string {
	return e.book.Of(local.Profile).Types(issuer)
}

// held is the wallet, which is joined after those who show what is in it.
type held struct{ c *Connector }

// Held implements credential.Wallet.
func (h held) Held(ctx context.Context, p participant.Participant) ([]credential.Stored, error) {
	return h.c.wallet.Held(ctx, p)
}

// Wallet is what the hosted participants hold, ask for and are offered.
func (c *Connector) Wallet() *wallet.Service { return c.wallet }
