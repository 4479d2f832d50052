package process_test

import (
	"testing"

	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/process"
)

func TestAnAnswerGivesThePeersPidOnlyOfTheProcessThatItSpeaksOf(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		own    process.Role
		answer outbox.Answer
		want   string
	}{
		"both pids":                      {process.Consumer, outbox.Answer{ConsumerPID: "ours", ProviderPID: "theirs"}, "theirs"},
		"both pids, we are the provider": {process.Provider, outbox.Answer{ConsumerPID: "theirs", ProviderPID: "ours"}, "theirs"},
		"only its own":                   {process.Consumer, outbox.Answer{ProviderPID: "theirs"}, "theirs"},
		"only ours":                      {process.Consumer, outbox.Answer{ConsumerPID: "ours"}, ""},
		"those of another process":       {process.Consumer, outbox.Answer{ConsumerPID: "another", ProviderPID: "theirs"}, ""},
		"ours and its own exchanged":     {process.Consumer, outbox.Answer{ConsumerPID: "theirs", ProviderPID: "ours"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := process.Theirs(tc.own, "ours", tc.answer); got != tc.want {
				t.Errorf("their pid is %q, want %q", got, tc.want)
			}
		})
	}
}

// Nobody can tell a late copy from a second message that says the same, unless the message has an id that no other one has.
func TestAfterAStepOfOurOwnOnlyAMessageWithAUUIDIsARepeat(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{"urn:uuid:7b1f3e0c-2a64-4f7e-9d3b-0c9a5d2e6f11": true, "7b1f3e0c-2a64-4f7e-9d3b-0c9a5d2e6f11": true,
		"": false, "urn:message": false, "urn:uuid:00000000-0000-0000-0000-000000000000": false} {
		said := process.ReceiptOf("suspension", id, []byte(id))
		if again := process.ReceiptOf("suspension", id, []byte(id)); again != said {
			t.Errorf("%q: the same bytes have two receipts", id)
		}
		if kept := said.Moved() == said; kept != want {
			t.Errorf("%q is known for a repeat after a step of ours: %t, want %t", id, kept, want)
		}
	}
}
