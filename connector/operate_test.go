package connector_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/participant"
)

// sequenced waits until the participant's log has a size; nothing tells of it, so it looks.
func sequenced(t *testing.T, c *connector.Connector, local participant.Participant, size uint64) {
	t.Helper()
	for {
		head, err := c.Store().LogHead(t.Context(), local.Slug)
		if err != nil {
			t.Fatal(err)
		}
		if head.Size >= size {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAnyNumberOfParticipantsCanBeMadeBeforeAndWhileServing(t *testing.T) {
	t.Parallel()
	log := &written{}
	c, _, _ := open(t, func(cfg *connector.Config) { cfg.Log = slog.New(slog.NewTextHandler(log, nil)) })
	var all []participant.Participant
	create := func(slug string) {
		t.Helper()
		p, err := c.CreateParticipant(t.Context(), slug, slug, "", "root")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for i := range 70 {
		create(fmt.Sprintf("early-%d", i))
	}
	run(t, c)
	create("late")
	for _, p := range all {
		sequenced(t, c, p, 1)
		told, err := c.Store().EventsSince(t.Context(), p.ID, 0, 10)
		if err != nil || len(told) == 0 || told[0].Type != "participant.created" || told[0].Actor != "root" {
			t.Fatalf("%s: told %v, %v; want that it was created, and by whom", p.Slug, told, err)
		}
	}
	if !strings.Contains(log.String(), "participant=late actor=root") {
		t.Errorf("the log does not say who had the participant made:\n%s", log)
	}
}
