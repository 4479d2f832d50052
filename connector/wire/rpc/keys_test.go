package rpc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeysAreRotatedAndRevokedOverTheAPI(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const base = "/v1/participants/aurora/keys"
	list := func() string {
		t.Helper()
		_, text, _ := b.call(t, "GET", base, b.auditor, "")
		if strings.Contains(text, "wrapped") || strings.Contains(text, "public") {
			t.Errorf("the list shows more than names: %s", text)
		}
		var all struct {
			Keys []struct{ Use, State, Generation string }
		}
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var out []string
		for _, k := range all.Keys {
			if k.Use == "token" {
				out = append(out, k.Generation+" "+strings.ToLower(strings.TrimPrefix(k.State, "KEY_STATE_")))
			}
		}
		return strings.Join(out, ", ")
	}
	for _, step := range []struct {
		path, body string
		status     int
		says, then string
	}{
		{"/rotate", `{"use":"token","overlap":"-1s"}`, 400, "overlap", "1 active"},
		{"/rotate", `{"use":"token","overlap":"soon"}`, 400, "Duration", "1 active"},
		{"/rotate", `{"use":"tokens"}`, 400, "want one of", "1 active"},
		{"/rotate", `{"use":"log"}`, 409, "is not rotated", "1 active"},
		{"/rotate", `{"use":"token","overlap":"3600s"}`, 200, `"due":"2026-03-01T13:00:00Z"`, "1 active, 2 created"},
		{"/rotate", `{"use":"token"}`, 409, "key.rotating", "1 active, 2 created"},
		{"/none/revoke", `{}`, 404, "", "1 active, 2 created"},
	} {
		status, text, _ := b.call(t, "POST", base+step.path, b.operator, step.body)
		if status != step.status || !strings.Contains(text, step.says) {
			t.Errorf("%s %s: %d %s", step.path, step.body, status, text)
		}
		if diff := cmp.Diff(step.then, list()); diff != "" {
			t.Errorf("after %s %s (-want +got):\n%s", step.path, step.body, diff)
		}
	}
	_, text, _ := b.call(t, "GET", base, b.reader, "")
	var all struct {
		Keys []struct{ ID, Use, Version string }
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	for _, k := range all.Keys {
		if k.Use != "token" {
			continue
		}
		if status, text, _ := b.call(t, "POST", base+"/"+k.ID+"/revoke", b.operator, `{"version":"9"}`); status != 409 || !strings.Contains(text, "version.stale") {
			t.Errorf("of a version that is not there: %d %s", status, text)
		}
		if status, _, _ := b.call(t, "POST", base+"/"+k.ID+"/revoke", b.operator, `{"reason":"`+strings.Repeat("x", 1001)+`"}`); status != 400 {
			t.Errorf("for a reason without end: %d", status)
		}
		// A repeat under one key gets the first answer, and revokes no second key.
		for range 2 {
			status, text, _ := b.call(t, "POST", base+"/"+k.ID+"/revoke", b.operator, `{"version":"`+k.Version+`"}`, "Idempotency-Key", "once")
			if status != 200 || !strings.Contains(text, "KEY_STATE_REVOKED") {
				t.Errorf("%d %s", status, text)
			}
		}
		break
	}
	if got, want := list(), "1 revoked, 2 active"; got != want {
		t.Errorf("keys %q, want %q", got, want)
	}
}
