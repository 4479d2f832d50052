package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
)

func tokens(t *testing.T, f bench) {
	var want []store.Token
	for i, role := range participant.Roles() {
		token := store.Token{Hash: strings.Repeat(string(rune('a'+i)), 64), Participant: f.a.ID, Role: role, Label: role, Created: now.Add(time.Duration(i) * time.Second), Expires: now.Add(time.Hour)}
		check(t, f.PutToken(t.Context(), token))
		want = append(want, token)
	}
	if err := f.PutToken(t.Context(), store.Token{Hash: strings.Repeat("f", 64), Participant: f.a.ID, Role: "root", Created: now}); err == nil {
		t.Error("a token of a role that is none was kept")
	}
	if diff := cmp.Diff(want, must(f.Tokens(t.Context(), f.a.ID))(t)); diff != "" {
		t.Errorf("(-kept +read):\n%s", diff)
	}
	if all := must(f.Tokens(t.Context(), f.b.ID))(t); len(all) != 0 {
		t.Errorf("another participant has %d", len(all))
	}
	wantKind(t, f.DeleteToken(t.Context(), f.b.ID, want[0].Hash), fault.NotFound)
	check(t, f.DeleteToken(t.Context(), f.a.ID, want[0].Hash))
	_, err := f.Token(t.Context(), want[0].Hash)
	wantKind(t, err, fault.NotFound)
}
