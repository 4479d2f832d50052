package rpc

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/publishing"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// chunkSize is how much of a stream one message carries.
const chunkSize = 64 << 10

// pull runs an errand: head is called once before the first byte, then data goes to w. The transfer is completed when all of it has been handed
// over; otherwise it is terminated, for nobody comes back to it.
func (s *Server) pull(ctx context.Context, req *pb.PullRequest, reached func(step, process string) error, head func(exchange.Result) error, w io.Writer) (err error) {
	const op = "rpc.Pull"
	if req.GetPeer() == "" || req.GetAsset() == "" {
		return fault.New(op, fault.Malformed, "want the DID of a peer and the id of an asset")
	}
	who := from(ctx)
	standing := !who.is(Operator)
	if standing && req.GetFresh() {
		return fault.New(op, fault.Forbidden, "a fresh agreement binds the company: that is for operators")
	}
	peer, err := s.peer(ctx, who.local, req.GetPeer())
	if err != nil {
		return err
	}
	var broken error
	result, err := s.cfg.Puller.Pull(ctx, who.local, exchange.Errand{Peer: peer, Asset: req.GetAsset(), Offer: req.GetOffer(),
		Path: req.GetPath(), Fresh: req.GetFresh(), Standing: standing, Actor: who.actor(), Reached: func(step exchange.Step, process string) {
			broken = errors.Join(broken, reached(string(step), process))
		}})
	if err != nil {
		return fault.Wrap(op, fault.Internal, err)
	}
	defer result.Body.Close()
	defer func() {
		if err != nil {
			detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, _ = s.cfg.Transfers.Terminate(detached, who.local, result.Transfer, commit.Order{Actor: who.actor(), Reason: "the data was not taken to its end"})
		}
	}()
	if broken != nil {
		return broken
	}
	if err := head(result); err != nil {
		return err
	}
	n, err := io.Copy(w, result.Body)
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	if result.Body.Length >= 0 && n != result.Body.Length {
		return fault.New(op, fault.Unavailable, "the data ended after %d of %d bytes", n, result.Body.Length)
	}
	_, err = s.cfg.Transfers.Complete(ctx, who.local, result.Transfer, commit.Order{Actor: who.actor()})
	return fault.Wrap(op, fault.Internal, err)
}

func headOut(r exchange.Result) *pb.PullHead {
	return &pb.PullHead{MediaType: r.Body.MediaType, Length: r.Body.Length, Agreement: r.Agreement, Transfer: r.Transfer}
}

func (s transfers) Pull(req *pb.PullRequest, stream grpc.ServerStreamingServer[pb.PullResponse]) error {
	return s.pull(stream.Context(), req,
		func(step, process string) error {
			return stream.Send(&pb.PullResponse{Part: &pb.PullResponse_Step{Step: &pb.PullStep{Name: step, Process: process}}})
		},
		func(r exchange.Result) error {
			return stream.Send(&pb.PullResponse{Part: &pb.PullResponse_Head{Head: headOut(r)}})
		},
		chunks(func(b []byte) error { return stream.Send(&pb.PullResponse{Part: &pb.PullResponse_Chunk{Chunk: b}}) }))
}

// chunks sends what is written to it in pieces of at most chunkSize. A message is encoded before send returns, so the bytes may be reused.
type chunks func([]byte) error

func (c chunks) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		n := min(len(b), chunkSize)
		if err := c(b[:n]); err != nil {
			return written, err
		}
		written, b = written+n, b[n:]
	}
	return written, nil
}

// publish reads a file and tells what comes of it.
func (s *Server) publish(ctx context.Context, settings *pb.PublishSettings, file io.Reader, tell func(*pb.PublishFileResponse) error) error {
	const op = "rpc.PublishFile"
	format, ok := map[pb.FileFormat]string{pb.FileFormat_FILE_FORMAT_CSV: "csv", pb.FileFormat_FILE_FORMAT_XLSX: "xlsx",
		pb.FileFormat_FILE_FORMAT_JSON: "json"}[settings.GetFormat()]
	if !ok {
		return fault.New(op, fault.Malformed, "format: want FILE_FORMAT_CSV, FILE_FORMAT_XLSX or FILE_FORMAT_JSON")
	}
	template := settings.GetTemplate()
	if template == "" {
		template = "pcf"
	}
	who := from(ctx)
	var broken error
	published, err := s.cfg.Publisher.Publish(ctx, who.local, publishing.File{Format: format, Template: template, Approval: settings.GetApproval(), Partial: settings.GetPartial(),
		DryRun: settings.GetDryRun(), Actor: who.actor()}, &bounded{r: file, left: MaxFile}, func(done, total int) {
		if broken == nil {
			broken = tell(&pb.PublishFileResponse{News: &pb.PublishFileResponse_Progress{Progress: &pb.PublishProgress{Done: int64(done), Total: int64(total)}}})
		}
	})
	if err != nil {
		return fault.Wrap(op, fault.Internal, err)
	}
	for _, f := range published.Faults {
		news := &pb.PublishFault{Row: int64(f.Row), Column: f.Column, Value: f.Value, Problem: f.Problem, Want: f.Want}
		if err := tell(&pb.PublishFileResponse{News: &pb.PublishFileResponse_Fault{Fault: news}}); err != nil {
			return err
		}
	}
	summary := &pb.PublishSummary{Rows: int64(published.Rows), Published: int64(len(published.Assets)), Faults: int64(published.Total),
		Assets: published.Assets[:min(len(published.Assets), 1000)]}
	return tell(&pb.PublishFileResponse{News: &pb.PublishFileResponse_Summary{Summary: summary}})
}

// bounded fails when there is more to read than it allows: a file is published whole or not at all.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fault.New("rpc.PublishFile", fault.TooLarge, "the file has more than %d bytes", int64(MaxFile))
	}
	return n, err
}

func (s assets) PublishFile(stream grpc.BidiStreamingServer[pb.PublishFileRequest, pb.PublishFileResponse]) error {
	const op = "rpc.PublishFile"
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetSettings() == nil {
		return fault.New(op, fault.Malformed, "the first message must carry the settings")
	}
	return s.publish(stream.Context(), first.GetSettings(), &upload{stream: stream}, stream.Send)
}

// upload reads the chunks of a stream as one file.
type upload struct {
	stream grpc.BidiStreamingServer[pb.PublishFileRequest, pb.PublishFileResponse]
	rest   []byte
}

func (u *upload) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		m, err := u.stream.Recv()
		if err != nil {
			return 0, err
		}
		if m.GetSettings() != nil {
			return 0, fault.New("rpc.PublishFile", fault.Malformed, "the settings come once, in the first message")
		}
		u.rest = m.GetChunk()
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// export writes the log as a tar archive. It is made on disk first: a reader never sees a log that could not be written whole.
func (s *Server) export(ctx context.Context, w io.Writer) error {
	const op = "rpc.ExportLog"
	parent, err := os.MkdirTemp(s.cfg.Temp, "export-")
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "log")
	if err := s.cfg.Logs.Export(ctx, from(ctx).local, dir); err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	archive := tar.NewWriter(w)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return addFile(archive, dir, path)
	})
	return fault.Wrap(op, fault.Unavailable, errors.Join(err, archive.Close()))
}

// addFile adds a file with nothing but its name and bytes, so that two exports of the same log are the same archive.
func addFile(archive *tar.Writer, dir, path string) error {
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(name), Size: info.Size(), Mode: 0o644}); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

func (s decisions) ExportLog(_ *pb.ExportLogRequest, stream grpc.ServerStreamingServer[pb.ExportLogResponse]) error {
	return s.export(stream.Context(), chunks(func(b []byte) error { return stream.Send(&pb.ExportLogResponse{Chunk: b}) }))
}

type events struct {
	pb.UnimplementedEventServiceServer
	*Server
}

// eventBatch is how many events are read at once.
const eventBatch = 500

// watch tells every event after a number, in order, and waits for more unless once is set. Each batch is told to a token that is good then.
func (s *Server) watch(ctx context.Context, req *pb.WatchRequest, tell func(*pb.Event) error) error {
	const op = "rpc.Watch"
	after := req.GetAfter()
	if after < 0 {
		return fault.New(op, fault.Malformed, "after: want 0 or the number of the last event seen")
	}
	local := from(ctx).local
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changed := s.cfg.Store.Notify(watching, local.ID) // before the first read, so that nothing falls in between
	for {
		if err := s.gate.again(ctx); err != nil {
			return err
		}
		batch, err := s.cfg.Store.EventsSince(ctx, local.ID, after, eventBatch)
		if err != nil {
			return fault.Wrap(op, fault.Unavailable, err)
		}
		for _, e := range batch {
			if err := tell(eventOut(e)); err != nil {
				return err
			}
			after = e.Seq
		}
		switch {
		case len(batch) == eventBatch:
			continue
		case req.GetOnce():
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-changed:
			if !open && ctx.Err() == nil {
				return fault.New(op, fault.Unavailable, "the connector is stopping: resume with the last number seen")
			}
		}
	}
}

func (s events) Watch(req *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.Event]) error {
	return s.watch(stream.Context(), req, stream.Send)
}
