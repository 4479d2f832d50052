package connector

import (
	"context"
	"io"

	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/schemas"
)

// Publish reads a file of footprints, checks it and publishes each part as an asset, all or nothing unless f.Partial is set. The
// policy template becomes an offer of all footprints when there is none of it yet.
func (c *Connector) Publish(ctx context.Context, local participant.Participant, f rpc.File, r io.Reader, progress func(done, total int)) (rpc.Published, error) {
	read, err := sheet.Read(ctx, r, sheet.Options{Format: f.Format, Models: c.models, Now: c.cfg.Now(), Progress: progress})
	if err != nil {
		return rpc.Published{}, err
	}
	out := rpc.Published{Rows: read.Rows, Total: read.Total}
	for _, wrong := range read.Faults {
		out.Faults = append(out.Faults, rpc.FileFault{Row: wrong.Row, Column: wrong.Column, Value: wrong.Value, Problem: wrong.Problem, Want: wrong.Want})
	}
	if read.Total > 0 && !f.Partial || len(read.Parts) == 0 {
		return out, nil
	}
	p := c.publication(read.Parts, f.Actor)
	for _, a := range p.Assets {
		out.Assets = append(out.Assets, a.ID)
	}
	if f.DryRun {
		return out, nil
	}
	if f.Template != "" {
		if err := c.offerTemplate(ctx, local, f.Template, f.Actor); err != nil {
			return out, err
		}
	}
	return out, c.catalog.Publish(ctx, local, p)
}

func (c *Connector) publication(parts []sheet.Part, actor string) catalog.Publication {
	now := c.cfg.Now()
	p := catalog.Publication{Upsert: true, Actor: actor}
	for _, part := range parts {
		content := catalog.Content{Digest: catalog.DigestOf(part.Payload), MediaType: "application/json", Bytes: part.Payload, Created: now}
		p.Contents = append(p.Contents, content)
		p.Assets = append(p.Assets, catalog.Asset{ID: sheet.AssetID(part.ID), Title: part.Name, Type: c.profile.Asset.Taxonomy + "Submodel", APIVersion: "3.0",
			SemanticID: schemas.PCF, Properties: map[string]string{"manufacturerPartId": part.ID},
			Address: catalog.Address{Content: content.Digest, MediaType: content.MediaType}})
	}
	return p
}

// offerTemplate makes sure that footprints are offered under the template: members may see them, and use them under its terms.
func (c *Connector) offerTemplate(ctx context.Context, local participant.Participant, name, actor string) error {
	const op = "connector.offerTemplate"
	usage, access, ok := c.profile.Template(name)
	if !ok || access {
		return fault.New(op, fault.Malformed, "there is no policy template %q for using data", name)
	}
	visible, _, ok := c.profile.Template("members")
	if !ok {
		return fault.New(op, fault.Internal, "the profile has no template for who may see an offer")
	}
	seen, err := c.catalog.Define(ctx, local, "members", visible, true, actor)
	if err != nil {
		return err
	}
	used, err := c.catalog.Define(ctx, local, name, usage, false, actor)
	if err != nil {
		return err
	}
	rules, err := c.store.Rules(ctx, local.ID, page.Request{Limit: page.MaxLimit})
	if err != nil {
		return err
	}
	for _, r := range rules.Items {
		if r.Selector.SemanticID == schemas.PCF && r.Usage == used.Digest && r.Access == seen.Digest {
			return nil
		}
	}
	_, err = c.catalog.Offer(ctx, local, catalog.Rule{Selector: catalog.Selector{SemanticID: schemas.PCF}, Access: seen.Digest, Usage: used.Digest}, actor)
	return err
}
