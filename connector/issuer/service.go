package issuer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// maxTogether is how many credentials one request may ask for.
const maxTogether = 50

// Config carries what a Service is made of. All fields are required unless said otherwise.
type Config struct {
	Store     Store
	Decider   Decider
	Claims    Claims
	Codec     Codec
	Hosted    Hosted
	Seals     Seals
	Keys      Keys
	Outbox    Outbox
	StatusURL func(local participant.Participant, list string) string // stable: it stands in every credential
	Templates func(local participant.Participant) []Definition        // what an issuer begins with
	Now       func() time.Time
	Rand      io.Reader
	Log       *slog.Logger
	PerHour   int           // requests of one holder in an hour
	Patience  time.Duration // how long a request waits for an operator
	Fill      int           // entries of a list that are given out before the next one begins; 0: three quarters
	Lists     int           // lists of one profile and purpose; 0: MaxLists
}

// Service is the issuer side of the hosted participants that are switched on as issuers. It is safe for concurrent use; races on one row are
// settled by the store.
type Service struct {
	cfg Config

	mu    sync.Mutex
	on    map[participant.ID]bool
	lists map[listKey]*published
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Fill == 0 {
		cfg.Fill = filled
	}
	if cfg.Lists == 0 {
		cfg.Lists = MaxLists
	}
	return &Service{cfg: cfg, on: map[participant.ID]bool{}, lists: map[listKey]*published{}}
}

// Load learns whether the participant is an issuer. It comes before anything else that is asked about it.
func (s *Service) Load(ctx context.Context, p participant.ID) error {
	_, err := s.cfg.Store.Authority(ctx, p)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return fault.Wrap("issuer.Load", fault.Unavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on[p] = true
	return nil
}

// Enabled reports whether the participant is an issuer.
func (s *Service) Enabled(p participant.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on[p]
}

// enabled refuses what is asked of a participant that is none.
func (s *Service) enabled(local participant.Participant) error {
	if !s.Enabled(local.ID) {
		return &fault.Error{Op: "issuer", Kind: fault.NotFound, Code: "issuer.off", Reason: "the participant is not an issuer"}
	}
	return nil
}

// Metadata is what the issuer issues; anyone may know it.
func (s *Service) Metadata(ctx context.Context, local participant.Participant) (Metadata, error) {
	if err := s.enabled(local); err != nil {
		return Metadata{}, err
	}
	defs, err := s.cfg.Store.IssuerDefinitions(ctx, local.ID)
	if err != nil {
		return Metadata{}, fault.Wrap("issuer.Metadata", fault.Unavailable, err)
	}
	return metadata(local, defs, credential.ReasonIssuance), nil
}

func metadata(local participant.Participant, defs []Definition, reason string) Metadata {
	m := Metadata{Issuer: local.DID}
	for _, d := range defs {
		m.Offers = append(m.Offers, Offered{ID: d.ID, Type: d.Type, Schema: d.Schema, Profile: d.Profile, Requires: d.shown(), Reason: reason})
	}
	return m
}

// Wanted is a holder's request as it arrived.
type Wanted struct {
	HolderPID   string
	Credentials []string // ids of definitions
	Digest      string   // of the message
}

// Received is the answer to a request. Flushed must be called after the answer was written and flushed: it wakes the sender of what is owed.
// Not calling it loses nothing.
type Received struct {
	ID      string // our pid
	Flushed func()
}

// Receive takes a holder's request: who it is was proven, and its token used up. The same message again, while what became of it is not over, is
// answered the same and changes nothing: the answer may have been lost. What is known here is judged before the holder is asked for
// anything; a holder that is not known is refused like a stranger, a rule that does not hold leaves a rejected request for the operator.
func (s *Service) Receive(ctx context.Context, local participant.Participant, peer participant.Peer, w Wanted) (Received, error) {
	const op = "issuer.Receive"
	if err := s.enabled(local); err != nil {
		return Received{}, err
	}
	defs, who, err := s.applicant(ctx, local, peer.DID, w.Credentials)
	if err != nil {
		return Received{}, err
	}
	again, err := s.repeated(ctx, local, peer.DID, w.Digest)
	if err != nil || again.ID != "" {
		return again, err
	}
	now := s.cfg.Now()
	asked, err := s.cfg.Store.IssuerRequested(ctx, local.ID, peer.DID, now.Add(-time.Hour), s.cfg.PerHour)
	if err != nil {
		return Received{}, fault.Wrap(op, fault.Unavailable, err)
	}
	if asked >= s.cfg.PerHour {
		return Received{}, &fault.Error{Op: op, Kind: fault.Exhausted, Code: "requests.many", Reason: "too many requests; come again later"}
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Received{}, err
	}
	r := Request{Participant: local.ID, ID: id, Version: 1, Holder: peer.DID, HolderPID: w.HolderPID, Digest: w.Digest, Wanted: w.Credentials, Created: now, Updated: now}
	no := s.refused(defs, who.judgeKnown)
	if no == nil {
		if err := s.evidence(ctx, local, peer, defs, &who); err != nil {
			return Received{}, err
		}
		no = s.refused(defs, func(d Definition) *refusal { return who.judgeShown(d, now) })
	}
	r.Evidence = who.evidence
	if no != nil {
		return Received{}, s.deny(ctx, local, r, *no)
	}
	if peer.AccessToken != "" {
		if r.Grant, err = s.cfg.Seals.Seal(local, []byte(peer.AccessToken)); err != nil {
			return Received{}, fault.Wrap(op, fault.Unavailable, err)
		}
	}
	if held(defs) {
		return s.wait(ctx, local, r)
	}
	owed, no, err := s.grant(ctx, local, nil, r, defs, who, commit.Order{}, now)
	if errors.Is(err, errRepeated) {
		return s.meanwhile(ctx, local, peer.DID, w.Digest)
	}
	if err != nil {
		return Received{}, err
	}
	if no != nil {
		return Received{}, s.deny(ctx, local, r, *no)
	}
	return Received{ID: r.ID, Flushed: func() { s.cfg.Outbox.Send(*owed) }}, nil
}

// maxKicks is how many attempts at a delivery its holder may hurry along by asking again; then they come at the outbox's own times.
const maxKicks = 20

// errRepeated is a request that came twice at once: the other one was faster.
var errRepeated = errors.New("the same request is there already")

// repeated is the answer to a message of the holder's that is there and not over; without an ID when there is none. In the same words a holder may ask
// anew for what is over: the conformance kit of the protocol does.
func (s *Service) repeated(ctx context.Context, local participant.Participant, holder participant.DID, digest string) (Received, error) {
	const op = "issuer.repeated"
	r, err := s.cfg.Store.IssuerRepeated(ctx, local.ID, holder, digest)
	if fault.Is(err, fault.NotFound) {
		return Received{}, nil
	}
	if err != nil {
		return Received{}, fault.Wrap(op, fault.Unavailable, err)
	}
	owed, err := s.cfg.Store.IssuerOwed(ctx, local.ID, r.Owed)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Received{}, fault.Wrap(op, fault.Unavailable, err)
	}
	return Received{ID: r.ID, Flushed: func() {
		// Who asks again is there: what could not be delivered to it is tried at once. Not without end: the address is the holder's word.
		if owed.URL != "" && owed.Attempt < maxKicks {
			s.cfg.Outbox.Send(owed)
		}
	}}, nil
}

// meanwhile is the answer to a message whose twin was faster. When that is over already, this one may come again.
func (s *Service) meanwhile(ctx context.Context, local participant.Participant, holder participant.DID, digest string) (Received, error) {
	again, err := s.repeated(ctx, local, holder, digest)
	if err == nil && again.ID == "" {
		err = process.Busy(errRepeated)
	}
	return again, err
}

// applicant finds the definitions that are wanted and what is known of the holder. Who is not known may only name what is open; whatever else
// it names, there or not, it is a stranger.
func (s *Service) applicant(ctx context.Context, local participant.Participant, holder participant.DID, ids []string) ([]Definition, applicant, error) {
	const op = "issuer.applicant"
	var who applicant
	row, err := s.cfg.Store.IssuerHolder(ctx, local.ID, holder)
	switch {
	case err == nil:
		who.known, who.holder = true, row
	case !fault.Is(err, fault.NotFound):
		return nil, who, fault.Wrap(op, fault.Unavailable, err)
	}
	if len(ids) == 0 || len(ids) > maxTogether {
		return nil, who, fault.New(op, fault.Malformed, "credentials: want 1 to %d", maxTogether)
	}
	all, err := s.cfg.Store.IssuerDefinitions(ctx, local.ID)
	if err != nil {
		return nil, who, fault.Wrap(op, fault.Unavailable, err)
	}
	var defs []Definition
	for i, id := range ids {
		at := slices.IndexFunc(all, func(d Definition) bool { return d.ID == id })
		switch {
		case !who.known && (at < 0 || !all[at].Open):
			s.cfg.Log.InfoContext(ctx, "request for credentials refused", slog.String("code", codeStranger), slog.String("holder", string(holder)),
				slog.String("participant", local.Slug))
			return nil, who, fault.New(op, fault.Unauthenticated, "the caller is not known")
		case at < 0:
			return nil, who, fault.New(op, fault.Malformed, "credentials: %q is not issued here", id)
		case slices.Contains(ids[:i], id):
			return nil, who, fault.New(op, fault.Malformed, "credentials: %q is there twice", id)
		}
		defs = append(defs, all[at])
	}
	return defs, who, nil
}

func (s *Service) refused(defs []Definition, judge func(Definition) *refusal) *refusal {
	for _, d := range defs {
		if no := judge(d); no != nil {
			return no
		}
	}
	return nil
}

// evidence asks the holder for credentials where a definition needs them: once, with the token of its request.
func (s *Service) evidence(ctx context.Context, local participant.Participant, peer participant.Peer, defs []Definition, who *applicant) error {
	if !slices.ContainsFunc(defs, Definition.asks) {
		return nil
	}
	if peer.AccessToken == "" { // it shows nothing
		who.evidence = Evidence{}
		return nil
	}
	party, err := s.cfg.Claims.Claims(ctx, local, peer)
	if err != nil {
		// What is wrong with a presentation says nothing of the row that the holder has here: it may come again.
		return fault.Wrap("issuer.evidence", fault.Unauthenticated, err)
	}
	who.evidence = evidenceOf(party, defs)
	return nil
}

// deny keeps a request that the rules refuse, with its record, and is the answer to the holder.
func (s *Service) deny(ctx context.Context, local participant.Participant, r Request, no refusal) error {
	const op = "issuer.deny"
	now := s.cfg.Now()
	r.State, r.Code, r.Reasons, r.Grant = Rejected, no.code, []string{no.reason}, nil
	entry, err := s.record(ctx, local, "issuance.deny", "", &r, now, map[string]string{"code": no.code})
	if err != nil {
		return err
	}
	err = s.cfg.Store.CommitIssuer(ctx, local.ID, Changes{Requests: []commit.Swap[Request]{{New: &r}}}, commit.Effects{Decisions: []decisionlog.Entry{entry}, Events: []commit.Event{requestEvent(r, "")}})
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	s.changed(ctx, local, r)
	return &fault.Error{Op: op, Kind: fault.Refused, Code: "issuance.refused", Reason: "the issuer does not grant this request"}
}

// wait keeps a request until an operator decides, or until nobody did in time.
func (s *Service) wait(ctx context.Context, local participant.Participant, r Request) (Received, error) {
	const op = "issuer.wait"
	r.State = Submitted
	entry, err := s.record(ctx, local, "issuance.submit", "", &r, r.Created, nil)
	if err != nil {
		return Received{}, err
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Received{}, err
	}
	deadline := commit.Owed{ID: id, Participant: local.ID, Process: commit.IssuerRequest, ProcessID: r.ID, Peer: r.Holder, Message: "approval", Due: r.Created.Add(s.cfg.Patience),
		Created: r.Created, Trace: r.Trace}
	r.Owed = deadline.ID
	err = s.cfg.Store.CommitIssuer(ctx, local.ID, Changes{Requests: []commit.Swap[Request]{{New: &r}}},
		commit.Effects{Decisions: []decisionlog.Entry{entry}, Owed: &deadline, Events: []commit.Event{requestEvent(r, "")}})
	if process.IsStale(err) {
		return s.meanwhile(ctx, local, r.Holder, r.Digest)
	}
	if err != nil {
		return Received{}, fault.Wrap(op, fault.Unavailable, err)
	}
	s.changed(ctx, local, r)
	return Received{ID: r.ID, Flushed: func() { s.cfg.Outbox.Send(deadline) }}, nil
}

// grant signs what was requested and owes it to the holder, in one commit. old is nil for a request that is new. Somebody else may take a
// place in between: then it is signed again with another. A value that is missing is a refusal.
func (s *Service) grant(ctx context.Context, local participant.Participant, old *Request, r Request, defs []Definition, who applicant, order commit.Order, now time.Time) (*commit.Owed, *refusal, error) {
	var owed *commit.Owed
	var no *refusal
	var next Request
	err := process.Retry(func() (struct{}, error) { return struct{}{}, nil }, func(struct{}) error {
		next = r
		next.State, next.Actor, next.Updated = Approved, order.Actor, now
		changes, signed, refusal, err := s.sign(ctx, local, r.Holder, defs, who, r.ID, order.Actor, now)
		if no = refusal; no != nil || err != nil {
			return err
		}
		details := map[string]string{"credentials": credentialDetails(changes.Credentials)}
		if order.Reason != "" {
			details["comment"] = order.Reason
		}
		code := "issuance.grant"
		if old != nil {
			code = "issuance.approve"
		}
		entry, err := s.record(ctx, local, code, order.Actor, &next, now, details)
		if err != nil {
			return err
		}
		events := []commit.Event{requestEvent(next, order.Actor)}
		for _, c := range changes.Credentials {
			next.Credentials = append(next.Credentials, c.New.ID)
			c.New.LastRecord = entry.ID
			events = append(events, credentialEvent(*c.New, "credential.issued", now, order.Actor))
		}
		if owed, err = s.owe(&next, Delivery{IssuerPID: r.ID, HolderPID: r.HolderPID, Signed: signed}, now); err != nil {
			return err
		}
		changes.Requests = []commit.Swap[Request]{{Old: old, New: &next}}
		e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Owed: owed, Events: events}
		if old != nil {
			e.Settled = old.Owed
		}
		err = s.cfg.Store.CommitIssuer(ctx, local.ID, changes, e)
		if process.IsStale(err) && old == nil {
			if again, look := s.repeated(ctx, local, r.Holder, r.Digest); look != nil || again.ID != "" {
				return errors.Join(look, errRepeated)
			}
		}
		if process.IsStale(err) && old != nil {
			// A place may be drawn anew, a request that somebody else decided may not.
			if now, look := s.cfg.Store.IssuerRequest(ctx, local.ID, "", old.ID); look != nil || now.Version != old.Version {
				return &fault.Error{Op: "issuer.grant", Kind: fault.Conflict, Code: "version.stale", Reason: "the request was decided meanwhile: look again", Err: err}
			}
		}
		return err
	})
	if err == nil && no == nil {
		s.changed(ctx, local, next)
	}
	return owed, no, fault.Wrap("issuer.grant", fault.Internal, err)
}

// sign signs a credential of each definition, with its places.
func (s *Service) sign(ctx context.Context, local participant.Participant, holder participant.DID, defs []Definition, who applicant, request, actor string, now time.Time) (Changes, []Signed, *refusal, error) {
	changes := Changes{Fill: s.cfg.Fill}
	var signed []Signed
	used, fresh := map[Place]bool{}, map[string]*List{}
	for _, d := range defs {
		members, no := who.subject(d, now)
		if no != nil {
			return changes, nil, no, nil
		}
		places, err := s.places(ctx, local, d, used, fresh, now)
		if err != nil {
			return changes, nil, nil, err
		}
		made, token, err := s.mint(ctx, local, d, holder, members, places, now)
		if err != nil {
			return changes, nil, nil, err
		}
		made.Request, made.Actor = request, actor
		changes.Credentials = append(changes.Credentials, commit.Swap[Credential]{New: &made})
		signed = append(signed, Signed{Type: d.Type, Profile: d.Profile, Token: token})
	}
	for _, l := range fresh {
		changes.Lists = append(changes.Lists, commit.Swap[List]{New: l})
	}
	return changes, signed, nil, nil
}

// owe encodes a delivery once and makes it owed by the request. Where the holder takes it stands in its DID document: the address is that of
// the service, which whoever sends it looks up.
func (s *Service) owe(r *Request, d Delivery, now time.Time) (*commit.Owed, error) {
	d.Holder = r.Holder
	body, err := s.cfg.Codec.EncodeDelivery(d)
	if err != nil {
		return nil, fault.Wrap("issuer.owe", fault.Internal, err)
	}
	owed, err := process.Owe(s.cfg.Rand, now, commit.Owed{Participant: r.Participant, Process: commit.IssuerRequest, ProcessID: r.ID, Peer: r.Holder, Message: "CredentialMessage",
		Body: body, Trace: r.Trace}, AtCredentialService(r.Holder), "")
	if err != nil {
		return nil, err
	}
	r.Owed = owed.ID
	return owed, nil
}

// AtCredentialService is where messages to a holder are addressed: a DID URL (DID core, section 3.2.1) that names the service, whose address
// may change while a message is owed.
func AtCredentialService(holder participant.DID) string {
	return string(holder) + "?service=CredentialService"
}

// Shown is a request as its holder sees it.
type Shown struct {
	IssuerPID string
	HolderPID string
	Status    string
}

// Status answers a holder's question: NotFound when the request is not its own.
func (s *Service) Status(ctx context.Context, local participant.Participant, peer participant.Peer, id string) (Shown, error) {
	if err := s.enabled(local); err != nil {
		return Shown{}, err
	}
	r, err := s.cfg.Store.IssuerRequest(ctx, local.ID, peer.DID, id)
	if err != nil {
		return Shown{}, fault.Wrap("issuer.Status", fault.Internal, err)
	}
	return Shown{IssuerPID: r.ID, HolderPID: r.HolderPID, Status: r.State.Wire()}, nil
}

// record seals an action about a request; the request's next record follows it.
func (s *Service) record(ctx context.Context, local participant.Participant, code, actor string, r *Request, now time.Time, details map[string]string) (decisionlog.Entry, error) {
	all := map[string]string{"holder": string(r.Holder), "wanted": strings.Join(r.Wanted, " ")}
	for kind, proofs := range r.Evidence {
		var digests []string
		for _, p := range proofs {
			digests = append(digests, p.Digest)
		}
		all["evidence/"+kind] = strings.Join(digests, " ")
	}
	for k, v := range details {
		all[k] = v
	}
	entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: code, Actor: actor, Subject: r.ID, Process: r.ID, Previous: r.LastRecord, Now: now, Details: all})
	if err != nil {
		return entry, fault.Wrap("issuer.record", fault.Unavailable, err)
	}
	r.LastRecord = entry.ID
	return entry, nil
}

func credentialDetails(all []commit.Swap[Credential]) string {
	out := ""
	for i, c := range all {
		if i > 0 {
			out += " "
		}
		out += c.New.ID + "=" + c.New.Digest
	}
	return out
}

// requestEvents names the event of reaching a state.
var requestEvents = map[State]string{Submitted: "submitted", Approved: "approved", Delivered: "delivered", Rejected: "rejected", Errored: "errored"}

func requestEvent(r Request, actor string) commit.Event {
	return commit.Event{Type: "issuance." + requestEvents[r.State], Subject: r.ID, Time: r.Updated, Actor: actor, Trace: r.Trace,
		Data: map[string]string{"state": string(r.State), "holder": string(r.Holder), "code": r.Code}}
}

func credentialEvent(c Credential, kind string, now time.Time, actor string) commit.Event {
	return commit.Event{Type: kind, Subject: c.ID, Time: now, Actor: actor,
		Data: map[string]string{"type": c.Type, "holder": string(c.Holder), "standing": string(c.Standing), "request": c.Request}}
}

// changed tells the operator's log that a request moved on.
func (s *Service) changed(ctx context.Context, local participant.Participant, r Request) {
	s.cfg.Log.InfoContext(ctx, "request for credentials changed", slog.String("participant", local.Slug), slog.String("request", r.ID), slog.String("holder", string(r.Holder)),
		slog.String("state", string(r.State)), slog.String("code", r.Code))
}

// Requests lists them for the operator.
func (s *Service) Requests(ctx context.Context, local participant.Participant, f Filter, r page.Request) (page.Of[Request], error) {
	return s.cfg.Store.IssuerRequests(ctx, local.ID, f, r)
}

// Request returns one for the operator.
func (s *Service) Request(ctx context.Context, local participant.Participant, id string) (Request, error) {
	return s.cfg.Store.IssuerRequest(ctx, local.ID, "", id)
}

var _ outbox.Owner = (*Service)(nil)
