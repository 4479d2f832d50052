package wallet

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Ask is what an operator wants from an issuer: by type, or by the ids of its metadata.
type Ask struct {
	Issuer      participant.DID
	Types       []string
	Definitions []string
	Actor       string
	Trace       string
}

// Ask reads the issuer's metadata and asks for credentials. It returns when the message is owed.
func (s *Service) Ask(ctx context.Context, local participant.Participant, a Ask) (Request, error) {
	const op = "wallet.Ask"
	issuer, _, err := identity.ParseDID(string(a.Issuer))
	switch n := len(a.Types) + len(a.Definitions); {
	case err != nil:
		return Request{}, fault.New(op, fault.Malformed, "issuer: %s", err.Error())
	case issuer == local.DID:
		return Request{}, fault.New(op, fault.Malformed, "issuer: a company does not ask itself")
	case n == 0 || n > MaxWanted:
		return Request{}, fault.New(op, fault.Malformed, "want 1 to %d types or ids, have %d", MaxWanted, n)
	}
	if err := s.room(ctx, local, issuer); err != nil {
		return Request{}, err
	}
	base, objects, err := s.cfg.Issuers.Metadata(ctx, local, issuer)
	if err != nil {
		return Request{}, fault.Wrap(op, fault.Internal, err)
	}
	wanted, err := choose(objects, a.Types, a.Definitions)
	if err != nil {
		return Request{}, err
	}
	return s.begin(ctx, local, Request{Issuer: issuer, Wanted: wanted, Base: base, Actor: a.Actor, Trace: a.Trace})
}

// room refuses when too many requests at the issuer are open.
func (s *Service) room(ctx context.Context, local participant.Participant, issuer participant.DID) error {
	open, err := s.cfg.Store.OpenCredentialRequests(ctx, local.ID, issuer, MaxOpen)
	switch {
	case err != nil:
		return fault.Wrap("wallet.room", fault.Internal, err)
	case len(open) >= MaxOpen:
		return fault.New("wallet.room", fault.Exhausted, "%d requests at this issuer are open", len(open))
	}
	return nil
}

// choose finds what is asked for among what is issued.
func choose(objects []Object, types, definitions []string) ([]Wanted, error) {
	const op = "wallet.choose"
	var out []Wanted
	add := func(o Object) error {
		switch {
		case o.Profile == "":
			return fault.New(op, fault.Refused, "%s is issued in the profile %q, which is not known here", o.ID, cut(o.Alias, 100))
		case slices.ContainsFunc(out, func(w Wanted) bool { return w.Definition == o.ID }):
			return fault.New(op, fault.Malformed, "%s is asked for twice", o.ID)
		}
		out = append(out, Wanted{Definition: o.ID, Type: o.Type, Profile: o.Profile})
		return nil
	}
	for _, id := range definitions {
		i := slices.IndexFunc(objects, func(o Object) bool { return o.ID == id })
		if i < 0 {
			return nil, &fault.Error{Op: op, Kind: fault.NotFound, Subject: id, Reason: "the issuer issues no such thing"}
		}
		if err := add(objects[i]); err != nil {
			return nil, err
		}
	}
	for _, kind := range types {
		var fit []Object
		for _, o := range objects {
			if o.Type == kind && o.Profile != "" {
				fit = append(fit, o)
			}
		}
		switch len(fit) {
		case 0:
			return nil, &fault.Error{Op: op, Kind: fault.NotFound, Subject: kind, Reason: "the issuer issues no credential of this type in a profile that is known here"}
		case 1:
		default:
			ids := make([]string, 0, len(fit))
			for _, o := range fit {
				ids = append(ids, o.ID+" ("+o.Profile+")")
			}
			return nil, &fault.Error{Op: op, Kind: fault.Malformed, Subject: kind, Reason: "the issuer issues several credentials of this type: ask by id", Reasons: ids}
		}
		if err := add(fit[0]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// begin commits a request with what it owes: its message when the issuer's service is known, else the moment to find it.
func (s *Service) begin(ctx context.Context, local participant.Participant, r Request) (Request, error) {
	r, owed, entry, err := s.draft(ctx, local, r)
	if err != nil {
		return Request{}, err
	}
	c := Change{Requests: []commit.Swap[Request]{{New: &r}}}
	e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Owed: owed, Events: []commit.Event{s.event("credential.requested", r.ID, r.Actor, facts(r))}}
	if err := s.cfg.Store.CommitWallet(ctx, local.ID, c, e); err != nil {
		return Request{}, fault.Wrap("wallet.begin", fault.Internal, err)
	}
	s.tell(owed)
	r.Version = 1
	return r, nil
}

func facts(r Request) map[string]string {
	return map[string]string{"issuer": string(r.Issuer), "state": string(r.State), "types": strings.Join(typesOf(r.Wanted), " ")}
}

func typesOf(wanted []Wanted) []string {
	var out []string
	for _, w := range wanted {
		out = append(out, w.Type)
	}
	return out
}

// draft completes a new request.
func (s *Service) draft(ctx context.Context, local participant.Participant, r Request) (Request, *commit.Owed, decisionlog.Entry, error) {
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return r, nil, decisionlog.Entry{}, err
	}
	now := s.cfg.Now()
	r.Participant, r.ID, r.State, r.Created, r.Updated = local.ID, id, Created, now, now
	entry, err := s.record(ctx, local, "credential.request", r.Actor, string(r.Issuer), r.ID, "", map[string]string{"types": strings.Join(typesOf(r.Wanted), " ")})
	if err != nil {
		return r, nil, entry, err
	}
	r.LastRecord = entry.ID
	var owed *commit.Owed
	if r.Base != "" {
		owed, err = s.message(&r)
	} else if owed, err = s.deadline(local.ID, commit.WalletRequest, r.ID, r.Issuer, now); err == nil {
		r.Owed = owed.ID
	}
	return r, owed, entry, err
}

// message owes the request's message, encoded once.
func (s *Service) message(r *Request) (*commit.Owed, error) {
	state, err := Next(r.State, StepSend)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, w := range r.Wanted {
		ids = append(ids, w.Definition)
	}
	body, err := s.cfg.Codec.EncodeRequest(r.ID, ids)
	if err != nil {
		return nil, err
	}
	owed, err := process.Owe(s.cfg.Rand, s.cfg.Now(), commit.Owed{Participant: r.Participant, Process: commit.WalletRequest, ProcessID: r.ID, Peer: r.Issuer,
		Message: "CredentialRequestMessage", Body: body, Trace: r.Trace}, r.Base, "/credentials")
	if err == nil {
		r.State, r.Owed = state, owed.ID
	}
	return owed, err
}

// Request returns one.
func (s *Service) Request(ctx context.Context, local participant.Participant, id string) (Request, error) {
	r, err := s.cfg.Store.CredentialRequest(ctx, local.ID, "", id)
	return r, fault.Wrap("wallet.Request", fault.Internal, err)
}

// Requests lists them.
func (s *Service) Requests(ctx context.Context, local participant.Participant, f Filter, r page.Request) (page.Of[Request], error) {
	out, err := s.cfg.Store.CredentialRequests(ctx, local.ID, f, r)
	return out, fault.Wrap("wallet.Requests", fault.Internal, err)
}

// Delivered implements outbox.Owner: the issuer took the request. Where it says how it stands must be below its own address: what an answer names
// elsewhere is not looked at.
func (s *Service) Delivered(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return s.settle(ctx, o, func(ctx context.Context, local participant.Participant, r Request) (Request, *commit.Owed, error) {
		status, err := below(r.Base, a.Location)
		if err != nil {
			s.cfg.Log.WarnContext(ctx, "an issuer's answer names no address of its own", slog.String("issuer", string(r.Issuer)), slog.String("request", r.ID), attr(err))
		}
		return s.accepted(r, status)
	})
}

// accepted waits for what the issuer took to deliver.
func (s *Service) accepted(r Request, status string) (Request, *commit.Owed, error) {
	var err error
	if r.State, err = Next(r.State, StepAccept); err != nil {
		return r, nil, err
	}
	if r.Status = status; status != "" && r.IssuerPID == "" {
		r.IssuerPID = cut(status[strings.LastIndexByte(status, '/')+1:], maxIssuerPID)
	}
	owed, err := s.look(&r)
	return r, owed, err
}

// look owes the next look at the issuer's side.
func (s *Service) look(r *Request) (*commit.Owed, error) {
	wait := min(s.cfg.Look<<min(r.Looks, 16), 24*time.Hour)
	owed, err := s.deadline(r.Participant, commit.WalletRequest, r.ID, r.Issuer, s.cfg.Now().Add(wait))
	if err == nil {
		r.Owed = owed.ID
	}
	return owed, err
}

// below resolves what an answer calls its Location: same origin as the service, and below its path.
func below(base, location string) (string, error) {
	root, err := url.Parse(strings.TrimRight(base, "/") + "/")
	if err != nil {
		return "", err
	}
	at, err := url.Parse(location)
	if err != nil || location == "" || len(location) > 2048 {
		return "", fmt.Errorf("location: want an address of at most 2048 bytes")
	}
	if at = root.ResolveReference(at); at.Scheme != root.Scheme || at.Host != root.Host || at.User != nil || at.RawQuery != "" || at.Fragment != "" || at.Opaque != "" ||
		!strings.HasPrefix(at.EscapedPath(), root.EscapedPath()) || at.EscapedPath() == root.EscapedPath() {
		return "", fmt.Errorf("location: want an address below the issuer's service")
	}
	return at.String(), nil
}

// conflict is the answer of an issuer that has a request of this id already: an earlier attempt got through and its answer was lost.
const conflict = 409

// Rejected implements outbox.Owner: the issuer refuses the message for good, or could not be reached in time.
func (s *Service) Rejected(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return s.settle(ctx, o, func(ctx context.Context, local participant.Participant, r Request) (Request, *commit.Owed, error) {
		switch a.Status {
		case conflict:
			return s.accepted(r, "")
		case 0:
			return s.failed(r, "the issuer could not be reached in time: "+o.LastError)
		}
		return s.failed(r, "the issuer refused the request: "+strings.Join(append([]string{a.String()}, a.Reasons...), ": "))
	})
}

func (s *Service) failed(r Request, reason string) (Request, *commit.Owed, error) {
	return s.end(r, StepFail, reason)
}

func (s *Service) end(r Request, step Step, reason string) (Request, *commit.Owed, error) {
	var err error
	r.State, err = Next(r.State, step)
	r.Reason = cut(reason, maxReason)
	return r, nil, err
}

// Expired implements outbox.Owner: a moment has come.
func (s *Service) Expired(ctx context.Context, o commit.Owed) error {
	switch o.Process {
	case commit.WalletCredential:
		return s.aged(ctx, o)
	case commit.WalletOffer:
		return s.act(ctx, o)
	}
	return s.settle(ctx, o, func(ctx context.Context, local participant.Participant, r Request) (Request, *commit.Owed, error) {
		if r.State == Created {
			return s.prepare(ctx, local, r)
		}
		return s.ask(ctx, local, r)
	})
}

// prepare finds the issuer's service and owes the message.
func (s *Service) prepare(ctx context.Context, local participant.Participant, r Request) (Request, *commit.Owed, error) {
	base, objects, err := s.cfg.Issuers.Metadata(ctx, local, r.Issuer)
	if err != nil {
		if s.cfg.Now().Sub(r.Created) > s.cfg.GiveUp {
			return s.failed(r, "the issuer's metadata could not be read in time")
		}
		return r, nil, err
	}
	for i, w := range r.Wanted {
		// Another id for what is the same in every other way is a change of the issuer's books, not of what is wanted.
		at := slices.IndexFunc(objects, func(o Object) bool { return o.ID == w.Definition && o.Type == w.Type && o.Profile == w.Profile })
		if at < 0 {
			at = slices.IndexFunc(objects, func(o Object) bool { return o.Type == w.Type && o.Profile == w.Profile })
		}
		if at < 0 {
			return s.failed(r, "the issuer no longer issues "+w.Type)
		}
		r.Wanted[i].Definition = objects[at].ID
	}
	r.Base = base
	owed, err := s.message(&r)
	return r, owed, err
}

// ask looks how the request stands at the issuer, which has had its time.
func (s *Service) ask(ctx context.Context, local participant.Participant, r Request) (Request, *commit.Owed, error) {
	late := s.cfg.Now().Sub(r.Created) > s.cfg.GiveUp
	status, err := "", error(nil)
	if r.Status != "" {
		status, err = s.cfg.Issuers.Status(ctx, local, r.Issuer, r.Status)
	}
	switch {
	case fault.Is(err, fault.NotFound):
		return s.failed(r, "the issuer does not know the request")
	case status == "REJECTED":
		return s.end(r, StepReject, "the issuer rejected the request")
	case late:
		return s.failed(r, "the issuer did not deliver in time")
	case status == "ISSUED" && r.Looks > 0:
		return s.failed(r, "the issuer says that it delivered, and it did not")
	case err != nil:
		s.cfg.Log.WarnContext(ctx, "an issuer did not say how a request stands", slog.String("issuer", string(r.Issuer)), slog.String("request", r.ID), attr(err))
	}
	r.Looks++
	owed, err := s.look(&r)
	return r, owed, err
}

// events name the state that a request reached.
var events = map[State]string{Requesting: "credential.requesting", Requested: "credential.accepted", Issued: "credential.issued", Rejected: "credential.rejected", Failed: "credential.failed"}

// settle takes a step on behalf of an owed row, once: a request that went on meanwhile has settled it already. What outcome fetches it fetches
// before anything is written.
func (s *Service) settle(ctx context.Context, o commit.Owed, outcome func(context.Context, participant.Participant, Request) (Request, *commit.Owed, error)) error {
	const op = "wallet.settle"
	local, err := s.cfg.Hosted.ByID(ctx, o.Participant)
	if err != nil {
		return err
	}
	var owed *commit.Owed
	err = process.Retry(func() (Request, error) { return s.cfg.Store.CredentialRequest(ctx, o.Participant, "", o.ProcessID) }, func(r Request) error {
		owed = nil
		if r.Owed != o.ID {
			return nil
		}
		next := r
		next.Wanted, next.Owed = slices.Clone(r.Wanted), ""
		next, message, err := outcome(ctx, local, next)
		if err != nil {
			return err
		}
		next.Updated = s.cfg.Now()
		c := Change{Requests: []commit.Swap[Request]{{Old: &r, New: &next}}}
		e := commit.Effects{Settled: o.ID, Owed: message}
		if next.State != r.State {
			if err := s.reached(ctx, local, &next, &c, &e); err != nil {
				return err
			}
		}
		if err := s.cfg.Store.CommitWallet(ctx, local.ID, c, e); err != nil {
			return err
		}
		owed = message
		s.changed(ctx, local, r, next)
		for i := range c.Owed {
			s.tell(&c.Owed[i])
		}
		return nil
	})
	s.tell(owed)
	return fault.Wrap(op, fault.Internal, err)
}

// reached adds what a new state is told by; a request that was to replace a credential and failed leaves it to try again.
func (s *Service) reached(ctx context.Context, local participant.Participant, r *Request, c *Change, e *commit.Effects) error {
	e.Events = append(e.Events, s.event(events[r.State], r.ID, "", facts(*r)))
	if r.State != Rejected && r.State != Failed {
		return nil
	}
	code := map[State]string{Rejected: "credential.rejected", Failed: "credential.failed"}[r.State]
	entry, err := s.record(ctx, local, code, string(r.Issuer), string(r.Issuer), r.ID, r.LastRecord, map[string]string{"reason": r.Reason})
	if err != nil {
		return err
	}
	r.LastRecord = entry.ID
	e.Decisions = append(e.Decisions, entry)
	return s.again(ctx, local, *r, c)
}

func (s *Service) changed(ctx context.Context, local participant.Participant, from, to Request) {
	if from.State == to.State {
		return
	}
	level := slog.LevelInfo
	if to.State == Failed || to.State == Rejected {
		level = slog.LevelWarn
	}
	s.cfg.Log.Log(ctx, level, "credential request", slog.String("participant", local.Slug), slog.String("request", to.ID), slog.String("issuer", string(to.Issuer)),
		slog.String("state", string(to.State)), slog.String("reason", to.Reason))
}
