package connector

import (
	"context"

	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/connector/wire/egress"
	"github.com/sluice-connector/sluice/policy"
)

// joinDirectory makes what knows companies by number. Its way out leads to the directories in the settings and nowhere else.
func (c *Connector) joinDirectory(outbound func(allow []string, public bool) (*egress.Client, error)) (err error) {
	var origins []string
	for _, e := range c.ecosystems.all {
		if e.ours.Directory.URL != "" {
			origins = append(origins, e.ours.Directory.URL)
		}
	}
	c.registries, err = outbound(origins, false)
	return err
}

// place is where a participant's ecosystem keeps its directory.
func (c *Connector) place(p participant.Participant) (dcphttp.Place, bool) {
	e := c.ecosystems.of(p)
	d := e.ours.Directory
	return dcphttp.Place{URL: d.URL, DID: participant.DID(d.DID), Scope: e.Profile.Directory}, d.URL != "" && e.Profile.Directory != ""
}

// member is who shows a presentation to the directory that a hosted participant keeps.
func (c *Connector) member(ctx context.Context, local participant.Participant, presentation string) (participant.DID, error) {
	e := c.ecosystems.of(local)
	if e.verifier == nil || e.Profile.Directory == "" {
		return "", fault.New("connector.member", fault.NotFound, "the ecosystem %s has no numbers", local.Profile)
	}
	return e.verifier.Member(ctx, local, presentation, e.Profile.Directory)
}

// grouped adds to what a peer has proven in which of the participant's groups it is.
func (e *ecosystems) grouped(ctx context.Context, local participant.Participant, party *policy.Party) error {
	groups, err := e.groups.Groups(ctx, local.ID)
	if err != nil {
		return fault.Wrap("connector.groups", fault.Unavailable, err)
	}
	party.Groups = directory.Memberships(groups, participant.DID(party.DID), party.BPN(e.now()))
	return nil
}
