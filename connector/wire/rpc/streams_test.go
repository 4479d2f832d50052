package rpc_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-connector/sluice/connector/fault"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func TestWatchLeavesNothingOutAndResumes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.put(t, "a", "b")
	ctx, stop := context.WithCancel(as(t.Context(), b.auditor))
	defer stop()
	stream, err := pb.NewEventServiceClient(b.conn).Watch(ctx, &pb.WatchRequest{Participant: "aurora", After: 1})
	if err != nil {
		t.Fatal(err)
	}
	next := func() int64 {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return e.GetSeq()
	}
	if got := next(); got != 2 {
		t.Errorf("got %d, want 2", got)
	}
	b.put(t, "c")
	if got := next(); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
	code, text, h := b.call(t, "GET", "/v1/participants/aurora/events?once=true&after=2", b.auditor, "")
	if code != 200 || strings.Count(text, "\n") != 1 || h.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("over REST: got %d %q as %s", code, text, h.Get("Content-Type"))
	}
}

func TestPullStreamsStepsHeadAndData(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code, text, h := b.call(t, "POST", "/v1/participants/aurora/pull?peer=did:web:boreal.example&asset=cell", b.operator, "")
	if code != 200 || text != `{"pcf":"4.2"}` || h.Get("Sluice-Agreement") != "agreement" {
		t.Errorf("got %d %s %v", code, text, h)
	}
	stream, err := pb.NewTransferServiceClient(b.conn).Pull(as(t.Context(), b.operator), &pb.PullRequest{Participant: "aurora", Peer: "p", Asset: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(strings.Fields(m.String()), " "))
	}
	if len(got) != 4 {
		t.Errorf("got %q, want two steps, the head and the data", got)
	}
}

func TestARefusedPullTellsTheReasons(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.parts.refuse = &fault.Error{Kind: fault.Refused, Code: "policy.refused", Reason: "the negotiation was terminated", Reasons: []string{"FrameworkAgreement is missing"}}
	code, text, _ := b.call(t, "POST", "/v1/participants/aurora/pull?peer=p&asset=a", b.operator, "")
	if code != 403 || !strings.Contains(text, "FrameworkAgreement is missing") || !strings.Contains(text, "policy.refused") {
		t.Errorf("got %d %s", code, text)
	}
	stream, err := pb.NewTransferServiceClient(b.conn).Pull(as(t.Context(), b.operator), &pb.PullRequest{Participant: "aurora", Peer: "p", Asset: "a"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if status.Code(err) != codes.PermissionDenied || len(status.Convert(err).Details()) != 2 {
		t.Errorf("got %v with %v", err, status.Convert(err).Details())
	}
}

func TestAPullThatBreaksOffDoesNotLookWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	broken := io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { return 0, errors.New("peer went away") }))
	b.parts.body = func() (io.ReadCloser, int64) { return io.NopCloser(broken), -1 }
	req, err := http.NewRequestWithContext(t.Context(), "POST", b.http.URL+"/v1/participants/aurora/pull?peer=p&asset=a", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.operator)
	res, err := b.http.Client().Do(req)
	if err != nil {
		return // cut before the head left: that does not look whole either
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the caller took half of the data for all of it")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestPublishReadsTheStreamAndReportsEachFault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code, text, _ := b.call(t, "POST", "/v1/participants/aurora/publish?format=csv", b.operator, "one bad two")
	if code != 200 || !strings.Contains(text, `"row":"2"`) || !strings.Contains(text, `"published":"2"`) || !strings.Contains(text, `"want":"pcf"`) {
		t.Errorf("got %d %s", code, text)
	}
	if code, text, _ := b.call(t, "POST", "/v1/participants/aurora/publish?format=doc", b.operator, "one"); code != 400 {
		t.Errorf("an unknown format: got %d %s", code, text)
	}
	stream, err := pb.NewAssetServiceClient(b.conn).PublishFile(as(t.Context(), b.operator))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*pb.PublishFileRequest{
		{Part: &pb.PublishFileRequest_Settings{Settings: &pb.PublishSettings{Participant: "aurora", Format: pb.FileFormat_FILE_FORMAT_CSV}}},
		{Part: &pb.PublishFileRequest_Chunk{Chunk: []byte("one t")}}, {Part: &pb.PublishFileRequest_Chunk{Chunk: []byte("wo")}},
	} {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var summary *pb.PublishSummary
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		summary = m.GetSummary()
	}
	if diff := cmp.Diff([]string{"one", "two"}, summary.GetAssets()); diff != "" {
		t.Error(diff)
	}
}

func TestAnExportIsATarOfTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code, text, _ := b.call(t, "GET", "/v1/participants/aurora/log/export", b.auditor, "")
	if code != 200 {
		t.Fatalf("got %d %s", code, text)
	}
	got := map[string]int64{}
	for r := tar.NewReader(strings.NewReader(text)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h.Size
	}
	if diff := cmp.Diff(map[string]int64{"checkpoint": 13, "tile/0": 200_000}, got); diff != "" {
		t.Error(diff)
	}
}
