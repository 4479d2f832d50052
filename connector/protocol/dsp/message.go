package dsp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/schemas/ijson"
	"github.com/sluice-connector/sluice/schemas/jsonld"
)

// Context is the JSON-LD context that every message carries.
const Context = jsonld.Context

var contexts = []string{Context}

// Version and Binding are what the version document says.
const (
	Version = "2025-1"
	Binding = "HTTPS"
)

// header is what every message has.
type header struct {
	Context json.RawMessage `json:"@context"`
	Type    string          `json:"@type"`
}

// read checks the text, the context and the type, and binds it to v.
func read(body []byte, want string, v any) error {
	return readWithin(body, ijson.DefaultLimits(), want, v)
}

func readWithin(body []byte, lim ijson.Limits, want string, v any) error {
	var h header
	if err := ijson.Unmarshal(body, lim, &h); err != nil {
		return malformed(err)
	}
	if err := h.check(want); err != nil {
		return err
	}
	if err := ijson.Bind(body, v); err != nil {
		return malformed(err)
	}
	return nil
}

// either reads a message in the plain form of the protocol. What is refused there gets a second look as JSON-LD of another implementation,
// in its plain form and by the same reader: what is well-formed never pays for that, and nothing is read by a laxer one.
func either[T any](body []byte, maxBytes int, parse func([]byte) (T, error)) (T, error) {
	out, err := parse(body)
	if !fault.Is(err, fault.Malformed) {
		return out, err
	}
	plain, other := jsonld.Plain(body, maxBytes)
	var f *fault.Error
	switch {
	case other != nil && errors.As(err, &f) && f.Reason != other.Error():
		return out, fault.New("dsp", fault.Malformed, "%s; as JSON-LD: %s", f.Reason, other)
	case other != nil, plain == nil:
		return out, err
	}
	return parse(plain)
}

func (h header) check(want string) error {
	var list []string
	if json.Unmarshal(h.Context, &list) != nil || len(list) != 1 || list[0] != Context {
		return missing("@context", "an array of one string, "+Context)
	}
	if h.Type != want {
		return missing("@type", want)
	}
	return nil
}

func malformed(err error) error {
	var text *ijson.Error
	kind := fault.Malformed
	if errors.As(err, &text) && text.Kind == ijson.TooLarge {
		kind = fault.TooLarge
	}
	return &fault.Error{Op: "dsp", Kind: kind, Reason: err.Error()}
}

func missing(member, want string) error {
	return fault.New("dsp", fault.Malformed, "%s: want %s", member, want)
}

// need returns the first fault of required strings, given as pairs of name and value.
func need(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		switch {
		case pairs[i+1] == "":
			return missing(pairs[i], "a string that is not empty")
		case len(pairs[i+1]) > 2048:
			return missing(pairs[i], "a string of at most 2048 bytes")
		case strings.ContainsFunc(pairs[i+1], func(r rune) bool { return r < 0x20 || r == 0x7f }):
			return missing(pairs[i], "a string without control characters")
		}
	}
	return nil
}

// policyOf reads an offer or agreement and its parties.
func policyOf(member, kind string, raw json.RawMessage) (odrl.Policy, odrl.Parties, error) {
	if len(raw) == 0 {
		return odrl.Policy{}, odrl.Parties{}, missing(member, "an object of type "+kind)
	}
	p, parties, err := odrl.Parse(raw)
	if err != nil {
		return p, parties, fault.New("dsp", fault.Malformed, "%s: %s", member, err.Error())
	}
	if parties.Kind != kind {
		return p, parties, missing(member+"/@type", kind)
	}
	return p, parties, need(member+"/@id", p.ID)
}

// reasonsOf reads the reasons of a peer as text: strings as they are, everything else as its JSON; bounded.
func reasonsOf(raw []json.RawMessage) []string {
	var out []string
	for _, r := range raw {
		if len(out) == 64 {
			break
		}
		text := string(r)
		var s string
		var lang struct {
			Value string `json:"@value"`
		}
		if json.Unmarshal(r, &s) == nil {
			text = s
		} else if json.Unmarshal(r, &lang) == nil && lang.Value != "" {
			text = lang.Value
		}
		out = append(out, clean(text, 512))
	}
	return out
}

// clean cuts a peer's text and replaces what could trick a terminal or a log.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > limit {
		cut := limit
		for cut > 0 && s[cut]&0xC0 == 0x80 {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

func quoted(reasons []string) []json.RawMessage {
	var out []json.RawMessage
	for _, r := range reasons {
		b, err := json.Marshal(r)
		if err == nil {
			out = append(out, b)
		}
	}
	return out
}

// stamp is an xsd:dateTime in UTC; it comes back as the same instant.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999999Z") }

func parseStamp(member, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, missing(member, "a date and time like 2026-11-24T09:00:00Z")
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b, nil
}
