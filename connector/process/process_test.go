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
