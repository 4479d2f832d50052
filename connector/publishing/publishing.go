package publishing

import (
	"context"
	"io"
	"time"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/profile"
	"github.com/sluice-connector/sluice/schemas"
)

// Catalog takes what is published.
type Catalog interface {
	Publish(ctx context.Context, local participant.Participant, p catalog.Publication) error
}

// Config carries what a Publisher is made of. All fields are required.
type Config struct {
	Catalog Catalog
	Profile func(participant.Participant) *profile.Profile
	Models  *aspect.Models
	Now     func() time.Time
}

// Publisher publishes files. It is safe for concurrent use.
type Publisher struct{ cfg Config }

// New returns a Publisher.
func New(cfg Config) *Publisher { return &Publisher{cfg} }

// File says how to publish a file.
type File struct {
	Format   string // "csv", "xlsx" or "json"
	Template string // name of a policy template; "": nothing is offered that no rule offers already
	Approval bool   // a contract needs an operator's approval beside the template
	Partial  bool   // publish what is right
	DryRun   bool   // check only
	Actor    string
}

// Outcome is what came of a file.
type Outcome struct {
	Rows   int
	Assets []string // ids, all of them
	Faults []sheet.Fault
	Total  int // faults, also those that are not in Faults
}

// Publish reads a file, checks it and publishes each part as an asset, offered under the template: all or nothing, unless f.Partial is
// set, and in one transaction in any case. Faults in the file are no error: they are in the outcome. progress may be nil.
func (p *Publisher) Publish(ctx context.Context, local participant.Participant, f File, r io.Reader, progress func(done, total int)) (Outcome, error) {
	terms, err := p.terms(local, f.Template, f.Approval)
	if err != nil {
		return Outcome{}, err
	}
	now := p.cfg.Now()
	read, err := sheet.Read(ctx, r, sheet.Options{Format: f.Format, Models: p.cfg.Models, Now: now, Progress: progress})
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Rows: read.Rows, Faults: read.Faults, Total: read.Total}
	if read.Total > 0 && !f.Partial || len(read.Parts) == 0 {
		return out, nil
	}
	lot := catalog.Publication{Terms: terms, Upsert: true, Actor: f.Actor}
	for _, part := range read.Parts {
		content := catalog.Content{Digest: catalog.DigestOf(part.Payload), MediaType: "application/json", Bytes: part.Payload, Created: now}
		lot.Contents = append(lot.Contents, content)
		lot.Assets = append(lot.Assets, catalog.Asset{ID: sheet.AssetID(part.ID), Title: part.Name, Type: p.cfg.Profile(local).Asset.Taxonomy + "Submodel",
			APIVersion: "3.0", SemanticID: schemas.PCF, Properties: map[string]string{"manufacturerPartId": part.ID},
			Address: catalog.Address{Content: content.Digest, MediaType: content.MediaType}})
		out.Assets = append(out.Assets, sheet.AssetID(part.ID))
	}
	if f.DryRun {
		return out, nil
	}
	return out, p.cfg.Catalog.Publish(ctx, local, lot)
}

// terms makes a template the terms of what is published: members may see it, and use it as the template says.
func (p *Publisher) terms(local participant.Participant, name string, approval bool) (*catalog.Terms, error) {
	const op = "publishing.terms"
	if name == "" {
		return nil, nil
	}
	usage, access, ok := p.cfg.Profile(local).Template(name)
	if !ok || access {
		return nil, fault.New(op, fault.Malformed, "there is no policy template %q for using data", name)
	}
	visible, access, ok := p.cfg.Profile(local).Template("members")
	if !ok || !access {
		return nil, fault.New(op, fault.Internal, "the profile has no template for who may see an offer")
	}
	terms := &catalog.Terms{Name: name, Approval: approval, Access: catalog.Draft{Name: "members", Policy: visible}, Usage: catalog.Draft{Name: name, Policy: usage}}
	if approval {
		terms.Name += " on approval" // terms of their own: what was published without stays without
	}
	return terms, nil
}
