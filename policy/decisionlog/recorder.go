package decisionlog

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Recorder seals decisions and actions of one hosted participant as entries. It is safe for concurrent use and does no I/O
// but drawing randomness.
type Recorder struct {
	log    string
	engine Engine
	query  string
	domain Domain
	rand   io.Reader
	clock  Clock
	n      atomic.Int64
}

// NewRecorder returns a Recorder. instance names the process for people; the boot id is drawn from rand.
func NewRecorder(log, instance string, engine Engine, query string, domain Domain, rand io.Reader) (*Recorder, error) {
	boot, err := NewID(rand)
	if err != nil {
		return nil, err
	}
	return &Recorder{log: log, engine: engine, query: query, domain: domain, rand: rand, clock: Clock{Instance: instance, Boot: boot}}, nil
}

// NewID draws a record id: 128 random bits as 32 hex digits.
func NewID(rand io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("record id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// begin returns a record with the fields that every kind has.
func (r *Recorder) begin(kind, id, previous string, now time.Time) Record {
	clock := r.clock
	clock.N = strconv.FormatInt(r.n.Add(1), 10)
	return Record{V: Version, Kind: kind, ID: id, Previous: previous, Time: stamp(now), Clock: clock,
		Shard: "usage", Erasure: r.domain.ID}
}

func seal(rec Record, process string, now time.Time, archive ...Object) (Entry, error) {
	b, err := rec.Encode()
	if err != nil {
		return Entry{}, err
	}
	return Entry{ID: rec.ID, Kind: rec.Kind, Process: process, Time: now, Bytes: b, Archive: archive}, nil
}

// Decision seals the answer to a question. The entry names input, result and bundle by digest; input and result come with it
// to be archived.
func (r *Recorder) Decision(q policy.Question, d policy.Decision) (Entry, error) {
	o, err := r.domain.record(q.ID)
	if err != nil {
		return Entry{}, err
	}
	rec := r.begin(KindDecision, q.ID, q.Previous, q.Now)
	rec.Door, rec.Effect, rec.Error = string(q.Door), string(policy.Deny), d.Class
	if d.Allowed() {
		rec.Effect = string(policy.Allow)
	} else if d.Effect == policy.Allow {
		rec.Error = "class"
	}
	rec.Query, rec.Bundle, rec.Caps, rec.InputSchema, rec.Engine = r.query, d.Bundle, d.Caps, d.Schema, &r.engine
	for _, reason := range d.Reasons {
		rec.Reasons = append(rec.Reasons, Reason{Code: reason.Code, Rule: reason.Rule, Clause: reason.Clause, Outcome: string(reason.Outcome)})
	}
	if !d.Limits.NotAfter.IsZero() {
		rec.Limits = &Limits{NotAfter: stamp(d.Limits.NotAfter)}
	}
	for i := range q.Policies {
		rec.Policies = append(rec.Policies, odrl.Digest(q.Policies[i]))
	}
	if err := r.commitments(&rec, o, q); err != nil {
		return Entry{}, err
	}
	var archive []Object
	if len(d.Input) > 0 {
		if rec.Input, err = o.inputRoot(d.Input); err != nil {
			return Entry{}, err
		}
		// The record leads to it by the root, which says nothing of what it binds; the bytes stay with us.
		archive = append(archive, Object{Digest: rec.Input, Type: "input", Bytes: d.Input})
	}
	if len(d.Result) > 0 {
		result := NewObject("result", d.Result)
		rec.Result = result.Digest
		archive = append(archive, result)
	}
	return seal(rec, processOf(q), q.Now, archive...)
}

func processOf(q policy.Question) string {
	if q.Role == "consumer" {
		return q.Process.ConsumerPID
	}
	return q.Process.ProviderPID
}

// NewObject names bytes by their digest.
func NewObject(kind string, b []byte) Object {
	return Object{Digest: ijson.Digest(kind, b), Type: kind, Bytes: b}
}

// commitments fills the fields that hide business values.
func (r *Recorder) commitments(rec *Record, o opener, q policy.Question) error {
	handle := ""
	if q.Process.ConsumerPID != "" || q.Process.ProviderPID != "" {
		handle = q.Process.ProviderPID + "|" + q.Process.ConsumerPID
	}
	rec.Message = q.Process.MessageDigest
	for _, f := range []struct {
		path, value string
		to          *string
	}{
		{"subject", q.Peer.DID, &rec.Subject}, {"asset", q.Asset.ID, &rec.Asset}, {"agreement", q.Agreement.ID, &rec.Agreement},
		{"offer", q.Process.OfferID, &rec.Offer}, {"process", handle, &rec.Process},
	} {
		c, err := o.text(f.path, f.value)
		if err != nil {
			return err
		}
		*f.to = c
	}
	for i, cred := range q.Peer.Credentials {
		id, err := o.text("credential/"+strconv.Itoa(i), cred.ID)
		if err != nil {
			return err
		}
		rec.Credentials = append(rec.Credentials, Credential{Type: cred.Type, ID: id, Digest: cred.Digest, NotAfter: stamp(cred.NotAfter)})
	}
	return nil
}

// Action seals something that an operator, or the connector itself, did.
func (r *Recorder) Action(a Action) (Entry, error) {
	id, err := NewID(r.rand)
	if err != nil {
		return Entry{}, err
	}
	o, err := r.domain.record(id)
	if err != nil {
		return Entry{}, err
	}
	kind := a.Kind
	if kind == "" {
		kind = KindOperator
	}
	rec := r.begin(kind, id, a.Previous, a.Now)
	rec.Door = string(policy.DoorManage)
	rec.Action = &Performed{Code: a.Code}
	if rec.Action.Actor, err = o.text("actor", a.Actor); err != nil {
		return Entry{}, err
	}
	if rec.Action.Subject, err = o.text("subject", a.Subject); err != nil {
		return Entry{}, err
	}
	if rec.Agreement, err = o.text("agreement", a.Agreement); err != nil {
		return Entry{}, err
	}
	if len(a.Details) > 0 {
		details, err := ijson.Marshal(a.Details)
		if err != nil {
			return Entry{}, err
		}
		rec.Action.Details = hex.EncodeToString(commitTo(o.salt("details"), "details", details))
	}
	if a.Data == nil {
		return seal(rec, a.Process, a.Now)
	}
	rec.Data = a.Data.Digest
	return seal(rec, a.Process, a.Now, *a.Data)
}

// Bundle is all that evaluates a question, by digest, and the objects that those digests name.
type Bundle struct {
	Bundle, Caps, InputSchema string
	Objects                   []Object
}

// Activation seals which bundle decides from now on. Its objects come with it to be archived.
func (r *Recorder) Activation(b Bundle, now time.Time) (Entry, error) {
	id, err := NewID(r.rand)
	if err != nil {
		return Entry{}, err
	}
	rec := r.begin(KindBundle, id, "", now)
	rec.Query, rec.Bundle, rec.Caps, rec.InputSchema, rec.Engine = r.query, b.Bundle, b.Caps, b.InputSchema, &r.engine
	return seal(rec, "", now, b.Objects...)
}

// SameActivation reports whether two activations name the same bundle and engine.
func SameActivation(a, b Entry) (bool, error) {
	x, err := ParseRecord(a.Bytes)
	if err != nil {
		return false, err
	}
	y, err := ParseRecord(b.Bytes)
	if err != nil || x.Engine == nil || y.Engine == nil {
		return false, err
	}
	return x.Query == y.Query && x.Bundle == y.Bundle && x.Caps == y.Caps && x.InputSchema == y.InputSchema && *x.Engine == *y.Engine, nil
}

// Recovered seals that the log goes on from a backup, behind size records, although the checkpoint store remembers mark.
func (r *Recorder) Recovered(mark Mark, size uint64, restored, now time.Time) (Entry, error) {
	id, err := NewID(r.rand)
	if err != nil {
		return Entry{}, err
	}
	rec := r.begin(KindRecovered, id, "", now)
	rec.Recovered = &Recovered{From: strconv.FormatUint(size, 10), Restored: stamp(restored)}
	if mark.exists() {
		rec.Recovered.Size, rec.Recovered.Root = strconv.FormatUint(mark.Size, 10), hex.EncodeToString(mark.Root)
	}
	return seal(rec, "", now)
}

// Served is what a serve record accounts for.
type Served struct {
	Kind      string // KindOpen, KindChunk or KindClose
	Now       time.Time
	Decision  string // id of the decision record that allows it
	Previous  string // id of the previous serve record of the flow
	Transfer  string
	Agreement string
	Asset     string
	Granted   int64
	Sent      int64
	Digest    string
	Whole     bool
}

// Serve seals a serve record of the data plane.
func (r *Recorder) Serve(s Served) (Entry, error) {
	id, err := NewID(r.rand)
	if err != nil {
		return Entry{}, err
	}
	o, err := r.domain.record(id)
	if err != nil {
		return Entry{}, err
	}
	rec := r.begin(s.Kind, id, s.Previous, s.Now)
	rec.Serve = &Serve{Decision: s.Decision, Granted: strconv.FormatInt(s.Granted, 10), Sent: strconv.FormatInt(s.Sent, 10),
		Digest: s.Digest, Whole: s.Whole}
	for _, f := range []struct {
		path, value string
		to          *string
	}{{"asset", s.Asset, &rec.Asset}, {"agreement", s.Agreement, &rec.Agreement}, {"process", s.Transfer, &rec.Process}} {
		if *f.to, err = o.text(f.path, f.value); err != nil {
			return Entry{}, err
		}
	}
	return seal(rec, s.Transfer, s.Now)
}
