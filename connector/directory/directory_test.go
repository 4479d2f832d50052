package directory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
)

const (
	aur = "BPNL00000000AUR1"
	bor = "BPNL00000000BOR1"
	cob = "BPNL00000000COB1"
)

// fine is no fault.
const fine = fault.Kind(255)

var local = participant.Participant{ID: 1, Slug: "aurora"}

// shelf is a directory somewhere, and how often it was asked for.
type shelf struct {
	text  string
	err   error
	asked int
}

func (s *shelf) Directory(context.Context, participant.Participant) (io.ReadCloser, error) {
	s.asked++
	return io.NopCloser(strings.NewReader(s.text)), s.err
}

func reader(t *testing.T, s *shelf, now *time.Time) *directory.Reader {
	return directory.NewReader(s, func() time.Time { return *now }, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func TestANumberIsOneOfALegalEntity(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]bool{aur: true, "BPNL00000003XXZZ": true, "BPNL00000000IF61": true, "": false, "BPNS00000000AUR1": false, "BPNA00000000AUR1": false,
		"bpnl00000000aur1": false, "BPNL00000000AUR": false, aur + "1": false, " " + aur[1:]: false, "BPNL 0000 0000 AU": false, "BPNL0000000ÄUR1": false, "did:web:aurora.ex": false} {
		if got := directory.ValidNumber(number); got != want {
			t.Errorf("%q: %t", number, got)
		}
	}
}

func TestADirectoryIsReadRowByRow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	const did = "did:web:boreal.example"
	for name, tt := range map[string]struct {
		text   string
		did    string     // of bor
		kind   fault.Kind // when there is none
		number fault.Kind // of did; fine when it is bor
	}{
		"an object":                       {`{"` + bor + `":"` + did + `","` + aur + `":"did:web:aurora.example"}`, did, fine, fine},
		"an array":                        {`[{"bpn":"` + bor + `","did":"` + did + `"}]`, did, fine, fine},
		"an empty object":                 {`{}`, "", fault.NotFound, fault.NotFound},
		"rows that are wrong are skipped": {`{"x":"did:web:x.example","` + aur + `":"https://aurora.example","` + cob + `":7,"` + bor + `":"` + did + `","BPNL000000000001":{"a":[1]}}`, did, fine, fine},
		"rows of an array that are wrong": {`[1,null,"x",{"bpn":7},{"bpn":"` + bor + `","did":"` + did + `"}]`, did, fine, fine},
		"a DID at an address is skipped":  {`{"` + bor + `":"did:web:127.0.0.1"}`, "", fault.NotFound, fault.NotFound},
		"a number twice, the same":        {`{"` + bor + `":"` + did + `","` + bor + `":"` + did + `"}`, did, fine, fine},
		"a number of two":                 {`{"` + bor + `":"` + did + `","` + bor + `":"did:web:other.example"}`, "", fault.Conflict, fine},
		"a number of three":               {`{"` + bor + `":"` + did + `","` + bor + `":"did:web:other.example","` + bor + `":"` + did + `"}`, "", fault.Conflict, fine},
		"a DID of two numbers":            {`{"` + bor + `":"` + did + `","` + aur + `":"` + did + `"}`, did, fine, fault.Conflict},
		"a string":                        {`"x"`, "", fault.Unavailable, fault.Unavailable},
		"nothing":                         {``, "", fault.Unavailable, fault.Unavailable},
		"half of one":                     {`{"` + bor + `":"` + did + `"`, "", fault.Unavailable, fault.Unavailable},
		"something behind it":             {`{"` + bor + `":"` + did + `"}{}`, "", fault.Unavailable, fault.Unavailable},
		"a page of an error":              {`<html>`, "", fault.Unavailable, fault.Unavailable},
	} {
		r := reader(t, &shelf{text: tt.text}, &now)
		got, err := r.DID(t.Context(), local, bor)
		if string(got) != tt.did || tt.kind != fine && !fault.Is(err, tt.kind) || tt.kind == fine && err != nil {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, tt.did, tt.kind)
		}
		number, err := r.Number(t.Context(), local, did)
		if tt.number == fine && (number != bor || err != nil) || tt.number != fine && !fault.Is(err, tt.number) {
			t.Errorf("%s: the DID has %q, %v; want %v", name, number, err, tt.number)
		}
	}
}

// endless is a directory that never ends.
type endless struct{ read int64 }

func (e *endless) Directory(context.Context, participant.Participant) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader(`{"x":"`), e)), nil
}

func (e *endless) Read(b []byte) (int, error) {
	e.read += int64(len(b))
	return copy(b, bytes.Repeat([]byte("a"), len(b))), nil
}

func TestADirectoryWithoutEndIsLeft(t *testing.T) {
	t.Parallel()
	e := &endless{}
	r := directory.NewReader(e, time.Now, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if _, err := r.DID(t.Context(), local, bor); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	if e.read > directory.MaxBytes+1<<20 {
		t.Errorf("%d bytes were read", e.read)
	}
}

func TestACopyIsUsedForAQuarterOfAnHourAndTheLastGoodOneForADay(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	now := begin
	s := &shelf{text: `{"` + bor + `":"did:web:boreal.example"}`}
	r := reader(t, s, &now)
	ask := func(at time.Duration, asked int, ok bool) {
		t.Helper()
		now = begin.Add(at)
		if _, err := r.DID(t.Context(), local, bor); (err == nil) != ok || s.asked != asked {
			t.Errorf("after %s: %v, asked %d times; want %t, %d", at, err, s.asked, ok, asked)
		}
	}
	ask(0, 1, true)
	ask(15*time.Minute-time.Second, 1, true)
	ask(15*time.Minute, 2, true)
	s.err = errors.New("away")
	ask(30*time.Minute, 3, true)
	ask(30*time.Minute+59*time.Second, 3, true) // not asked again so soon
	ask(31*time.Minute, 4, true)
	s.err, s.text = nil, "no directory"
	ask(time.Hour, 5, true)
	ask(15*time.Minute+24*time.Hour-time.Second, 6, true)
	ask(15*time.Minute+24*time.Hour, 6, false) // a day old, and tried a second ago
	ask(15*time.Minute+24*time.Hour+time.Minute, 7, false)
	s.text = `{"` + bor + `":"did:web:boreal.example"}`
	ask(15*time.Minute+24*time.Hour+2*time.Minute, 8, true)
	s.err = fault.New("test", fault.NotFound, "none is configured")
	ask(26*time.Hour, 9, false)
}

func TestEachParticipantReadsForItself(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := &shelf{text: `{}`}
	r := reader(t, s, &now)
	for i := range 3 {
		p := participant.Participant{ID: participant.ID(i + 1), Slug: fmt.Sprint("p", i)}
		for range 2 {
			if _, err := r.DID(t.Context(), p, bor); !fault.Is(err, fault.NotFound) {
				t.Error(err)
			}
		}
	}
	if s.asked != 3 {
		t.Errorf("asked %d times for three participants", s.asked)
	}
	if _, err := r.DID(t.Context(), local, "BPNS00000000BOR1"); !fault.Is(err, fault.Malformed) || s.asked != 3 {
		t.Errorf("the number of a site: %v, asked %d times", err, s.asked)
	}
}

func TestAGroupHoldsWhoProvesANumberOrIsTheDID(t *testing.T) {
	t.Parallel()
	g, err := directory.Group{Name: "suppliers", Members: []string{"did:web:cobalt.example:cobalt", bor, bor, aur}}.Normal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{aur, bor, "did:web:cobalt.example:cobalt"}, g.Members); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		did, number string
		want        bool
	}{
		{"did:web:x.example", bor, true}, {"did:web:x.example", cob, false}, {"did:web:x.example", "", false}, {"did:web:cobalt.example:cobalt", "", true},
		{"did:web:cobalt.example", "", false}, {"did:web:cobalt.example:cobalt:x", cob, false}, {"", "", false},
	} {
		if got := g.Holds(participant.DID(tt.did), tt.number); got != tt.want {
			t.Errorf("%s, %s: %t", tt.did, tt.number, got)
		}
	}
	for name, bad := range map[string]directory.Group{
		"no name": {}, "a long name": {Name: strings.Repeat("x", 129)}, "a blank around it": {Name: " a"}, "a line break": {Name: "a\nb"},
		"a member that is nobody": {Name: "a", Members: []string{"Boreal"}}, "the number of a site": {Name: "a", Members: []string{"BPNS00000000BOR1"}},
		"too many members": {Name: "a", Members: make([]string, directory.MaxMembers+1)},
	} {
		if _, err := bad.Normal(); !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := directory.Memberships([]directory.Group{g, {Name: "none"}}, "did:web:x.example", aur); !cmp.Equal(got, map[string]bool{"suppliers": true, "none": false}) {
		t.Errorf("%v", got)
	}
}

func FuzzDirectory(f *testing.F) {
	f.Add([]byte(`{"` + bor + `":"did:web:boreal.example"}`))
	f.Add([]byte(`[{"bpn":"` + bor + `","did":"did:web:boreal.example"}]`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		now := time.Now()
		r := reader(t, &shelf{text: string(text)}, &now)
		did, err := r.DID(t.Context(), local, bor)
		if err == nil && (did == "" || !strings.Contains(string(text), bor) && !strings.Contains(string(text), `\u`)) {
			t.Errorf("%q answers %q", text, did)
		}
	})
}
