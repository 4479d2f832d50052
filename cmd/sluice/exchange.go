package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-connector/sluice/connector/aspect"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func (a *app) catalogCommand() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "catalog PEER",
		Short:   "Show what a peer offers us",
		Long:    "Catalog asks PEER, named by its DID or by its business partner number, for its catalog and lists every offer that it shows us.",
		Example: `  sluice catalog did:web:boreal.example:boreal`,
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			all, err := a.wholeCatalog(ctx, pb.NewCatalogServiceClient(conn), slug, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.message(all)
			}
			var rows [][]string
			for _, d := range all.GetDatasets() {
				for _, o := range d.GetOffers() {
					rows = append(rows, []string{d.GetId(), d.GetTitle(), o.GetId(), terms(o)})
				}
			}
			a.table([]string{"ASSET", "TITLE", "OFFER", "TERMS"}, rows)
			return nil
		}),
	})
}

func (a *app) wholeCatalog(ctx context.Context, client pb.CatalogServiceClient, slug, peer string) (*pb.RequestCatalogResponse, error) {
	all := &pb.RequestCatalogResponse{}
	req := &pb.RequestCatalogRequest{Participant: slug, Peer: peer}
	for {
		page, err := client.RequestCatalog(ctx, req)
		if err != nil {
			return nil, err
		}
		all.Datasets = append(all.Datasets, page.GetDatasets()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return all, nil
		}
		a.progress("%d assets", len(all.GetDatasets()))
	}
}

// terms names the left operands of an offer's constraints: enough to see what it asks for.
func terms(o *pb.DatasetOffer) string {
	var out []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if s, ok := v["leftOperand"].(string); ok {
				out = append(out, s)
			}
			for _, key := range []string{"permission", "prohibition", "obligation", "constraint", "and", "or", "xone", "andSequence"} {
				walk(v[key])
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(o.GetOdrl().AsMap())
	return strings.Join(out, ", ")
}

func (a *app) negotiateCommand() *cobra.Command {
	var asset string
	var follow bool
	c := &cobra.Command{
		Use:   "negotiate PEER OFFER",
		Short: "Ask a peer for a contract on the terms of one of its offers",
		Long: `Negotiate begins a contract negotiation on the offer OFFER from the catalog of PEER, and waits until it has ended. The reasons of a refusal are
on standard error, and the exit code is 4 then.`,
		Example: `  sluice negotiate did:web:boreal.example:boreal urn:uuid:6ba7b810-9dad-41d1-80b4-00c04fd430c8`,
		Args:    cobra.ExactArgs(2),
	}
	c.Flags().StringVar(&asset, "asset", "", "asset that the offer is about; saves a search through the catalog")
	c.Flags().BoolVar(&follow, "wait", true, "wait until it has ended")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		// The watch begins before the negotiation does, so that its end cannot be missed.
		watching, stop := context.WithCancel(ctx)
		defer stop()
		seen, err := lastEvent(ctx, conn, slug)
		if err != nil {
			return err
		}
		client := pb.NewNegotiationServiceClient(conn)
		n, err := client.BeginNegotiation(ctx, &pb.BeginNegotiationRequest{Participant: slug, Peer: args[0], Offer: args[1], Asset: asset})
		if err != nil {
			return err
		}
		if follow {
			if n, err = a.outcome(watching, conn, slug, n, seen); err != nil {
				return err
			}
		}
		if err := a.showNegotiation(n); err != nil {
			return err
		}
		if n.GetState() == "TERMINATED" {
			return refused(n.GetCode(), n.GetReasons())
		}
		return nil
	})
	return a.remote(c)
}

// refused is the error of a process that a policy ended.
func refused(code string, reasons []string) error {
	text := "terminated"
	if code != "" {
		text += " (" + printable(code) + ")"
	}
	for _, r := range reasons {
		text += "\n  - " + printable(r)
	}
	return &exitError{code: exitRefused, err: errors.New(text)}
}

// lastEvent returns the number of the newest event.
func lastEvent(ctx context.Context, conn *grpc.ClientConn, slug string) (int64, error) {
	stream, err := pb.NewEventServiceClient(conn).Watch(ctx, &pb.WatchRequest{Participant: slug, Once: true})
	var last int64
	for err == nil {
		var e *pb.Event
		if e, err = stream.Recv(); err == nil {
			last = e.GetSeq()
		}
	}
	if !errors.Is(err, io.EOF) {
		return 0, failure(err)
	}
	return last, nil
}

// outcome follows the events of a participant until the negotiation has ended.
func (a *app) outcome(ctx context.Context, conn *grpc.ClientConn, slug string, n *pb.Negotiation, after int64) (*pb.Negotiation, error) {
	stream, err := pb.NewEventServiceClient(conn).Watch(ctx, &pb.WatchRequest{Participant: slug, After: after})
	if err != nil {
		return nil, err
	}
	for {
		a.progress("%s", n.GetState())
		e, err := stream.Recv()
		if err != nil {
			return nil, failure(err)
		}
		if e.GetSubject() != n.GetId() {
			continue
		}
		if n, err = pb.NewNegotiationServiceClient(conn).GetNegotiation(ctx, &pb.GetNegotiationRequest{Participant: slug, Id: n.GetId()}); err != nil {
			return nil, err
		}
		if n.GetState() == "FINALIZED" || n.GetState() == "TERMINATED" {
			a.progressDone()
			return n, nil
		}
	}
}

func (a *app) pullCommand() *cobra.Command {
	var out string
	var unchecked bool
	req := &pb.PullRequest{}
	c := &cobra.Command{
		Use:   "pull PEER ASSET",
		Short: "Get the data of an asset of a peer: discover, negotiate if needed, transfer, fetch, validate",
		Long: `Pull gets the data of ASSET from PEER through the connector: it finds the offer, negotiates unless an agreement is in force, starts a transfer, fetches,
checks the data against its aspect model where that is known, and writes it. The access token never leaves the connector. A file appears whole or not at all.`,
		Example: `  sluice pull did:web:boreal.example:boreal urn:sluice:asset:C-1 -o footprint.json
  sluice pull did:web:boreal.example:boreal urn:sluice:asset:C-1 | jq .pcf`,
		Args: cobra.ExactArgs(2),
	}
	f := c.Flags()
	f.StringVarP(&out, "output", "o", "-", "file to write; - is standard output")
	f.StringVar(&req.Offer, "offer", "", "take this offer instead of the first one")
	f.StringVar(&req.Path, "path", "", "path below the asset, for an API behind it")
	f.BoolVar(&req.Fresh, "fresh", false, "negotiate even when an agreement is in force")
	f.BoolVar(&unchecked, "no-validate", false, "write the data also when it does not conform to its aspect model")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		req.Participant, req.Peer, req.Asset = slug, args[0], args[1]
		return a.pull(ctx, conn, req, out, unchecked)
	})
	return a.remote(c)
}

func (a *app) pull(ctx context.Context, conn *grpc.ClientConn, req *pb.PullRequest, out string, unchecked bool) error {
	check := func([]byte) error { return nil }
	model := ""
	if !unchecked && req.GetPath() == "" {
		var err error
		if model, check, err = a.conformance(ctx, conn, req); err != nil {
			return err
		}
	}
	stream, err := pb.NewTransferServiceClient(conn).Pull(ctx, req)
	if err != nil {
		return err
	}
	var head *pb.PullHead
	var n int64
	take := func(w io.Writer) (err error) {
		if model == "" {
			head, n, err = a.haul(stream, w)
			return err
		}
		var whole payload
		if head, n, err = a.haul(stream, &whole); err != nil {
			return err
		}
		if err := check(whole.Bytes()); err != nil {
			return err
		}
		_, err = w.Write(whole.Bytes())
		return err
	}
	if out == "-" {
		return take(a.stdout)
	}
	if err := writeWhole(out, take); err != nil {
		return err
	}
	if a.json {
		return a.value(map[string]any{"file": out, "bytes": n, "mediaType": head.GetMediaType(), "model": model, "agreement": head.GetAgreement(), "transfer": head.GetTransfer()})
	}
	a.fields("file", out, "bytes", fmt.Sprint(n), "media type", head.GetMediaType(), "conforms to", model, "agreement", head.GetAgreement(), "transfer", head.GetTransfer())
	return nil
}

// payload holds data that is checked before it is written; no model takes more.
type payload struct{ bytes.Buffer }

func (p *payload) Write(b []byte) (int, error) {
	if p.Len()+len(b) > aspect.MaxPayload {
		return 0, &exitError{code: exitWrong, err: fmt.Errorf("the data has more than %d bytes, which no aspect model allows; --no-validate takes it as it is", aspect.MaxPayload)}
	}
	return p.Buffer.Write(b)
}

// conformance finds the aspect model that the peer names for the asset, "" when it names none that is known here, and the check against it.
func (a *app) conformance(ctx context.Context, conn *grpc.ClientConn, req *pb.PullRequest) (string, func([]byte) error, error) {
	none := func([]byte) error { return nil }
	d, err := pb.NewCatalogServiceClient(conn).RequestDataset(ctx, &pb.RequestDatasetRequest{Participant: req.GetParticipant(), Peer: req.GetPeer(), Id: req.GetAsset()})
	if status.Code(errors.Unwrap(err)) == codes.NotFound {
		return "", none, nil // it may still be had under an agreement in force, and if not, the pull says so
	}
	if err != nil {
		return "", nil, err
	}
	models, err := aspect.NewModels()
	if err != nil {
		return "", nil, err
	}
	urn := d.GetSemanticId()
	if !models.Known(urn) {
		return "", none, nil
	}
	return urn, func(data []byte) error {
		faults, err := models.Check(urn, data)
		if err != nil {
			return err
		}
		text := "the data does not conform to " + urn
		bad := false
		for _, f := range faults {
			bad = bad || !f.Warn
			text += "\n  - " + printable(f.Error())
		}
		if bad {
			return &exitError{code: exitWrong, err: errors.New(text)}
		}
		return nil
	}, nil
}

// haul writes what a pull brings.
func (a *app) haul(stream grpc.ServerStreamingClient[pb.PullResponse], w io.Writer) (head *pb.PullHead, n int64, err error) {
	defer a.progressDone()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if head == nil {
				return nil, n, errors.New("the connector ended the call without an answer")
			}
			return head, n, nil
		}
		if err != nil {
			return head, n, failure(err)
		}
		switch part := m.GetPart().(type) {
		case *pb.PullResponse_Step:
			a.progress("%s %s", part.Step.GetName(), part.Step.GetProcess())
		case *pb.PullResponse_Head:
			head = part.Head
		case *pb.PullResponse_Chunk:
			if _, err := w.Write(part.Chunk); err != nil {
				return head, n, err
			}
			n += int64(len(part.Chunk))
			a.progress("fetch %d bytes", n)
		}
	}
}

// writeWhole writes a file that appears whole or not at all.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
