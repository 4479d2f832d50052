package wallet

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Config carries what a Service is made of. All fields are required unless said otherwise.
type Config struct {
	Store      Store
	Recorder   Recorder
	Issuers    Issuers
	Signatures Signatures
	Documents  identity.Documents
	Statuses   Statuses
	Trust      Trust
	Codec      Codec
	Hosted     Hosted
	Aliases    func(participant.Participant) credential.Aliases // of scopes, in its ecosystem
	Outbox     Outbox
	Now        func() time.Time
	Rand       io.Reader
	Log        *slog.Logger

	Renew  float64       // part of a credential's life after which it is asked for anew; 0: never
	Auto   []string      // types that are asked for when a trusted issuer offers them
	Look   time.Duration // how long an issuer that took a request has before it is asked how it stands; then twice as long each time, up to a day
	GiveUp time.Duration // how long an issuer has altogether
	Watch  time.Duration // how often an issuer is asked how it stands by what it can take back; 0: never
	// Informal are issuers whose credentials may leave out what credential.Read tolerates; may be nil.
	Informal map[participant.DID]bool
}

// Service keeps wallets. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

var _ outbox.Owner = (*Service)(nil)

// deadline owes a moment: a row without an address, due then.
func (s *Service) deadline(p participant.ID, kind commit.ProcessKind, id string, peer participant.DID, due time.Time) (*commit.Owed, error) {
	o, err := process.Owe(s.cfg.Rand, s.cfg.Now(), commit.Owed{Participant: p, Process: kind, ProcessID: id, Peer: peer, Message: "deadline"}, "", "")
	if err != nil {
		return nil, err
	}
	o.Due = due
	return o, nil
}

// record seals what is done, to be committed with it.
func (s *Service) record(ctx context.Context, local participant.Participant, code, actor, subject, processID, previous string, details map[string]string) (decisionlog.Entry, error) {
	e, err := s.cfg.Recorder.Record(ctx, decisionlog.Action{Log: local.Slug, Code: code, Actor: actor, Subject: subject, Process: processID, Previous: previous,
		Now: s.cfg.Now(), Details: details})
	return e, fault.Wrap("wallet.record", fault.Unavailable, err)
}

func (s *Service) event(kind, subject, actor string, data map[string]string) commit.Event {
	return commit.Event{Type: kind, Subject: subject, Time: s.cfg.Now(), Actor: actor, Data: data}
}

// tell hands over what was committed.
func (s *Service) tell(owed ...*commit.Owed) {
	for _, o := range owed {
		if o != nil {
			s.cfg.Outbox.Send(*o)
		}
	}
}

func attr(err error) slog.Attr { return slog.Any("error", err) }

// cut bounds a text that somebody else wrote.
func cut(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
