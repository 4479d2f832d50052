package rpc_test

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
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

// watch begins to watch as the holder of a token that it makes, and returns what comes next.
func watch(t *testing.T, b *bench, life time.Duration) (hash string, next func() error) {
	t.Helper()
	secret, kept, err := rpc.NewToken(rand.Reader, store.Token{Participant: from(t, b, "aurora"), Role: rpc.Auditor, Label: "watcher", Created: clock()})
	if err != nil {
		t.Fatal(err)
	}
	if life > 0 {
		kept.Expires = clock().Add(life)
	}
	if err := b.store.PutToken(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	b.put(t, "seen")
	stream, err := pb.NewEventServiceClient(b.conn).Watch(as(t.Context(), secret), &pb.WatchRequest{Participant: "aurora"})
	if err != nil {
		t.Fatal(err)
	}
	return kept.Hash, func() error {
		_, err := stream.Recv()
		return err
	}
}

func TestAWatchTellsNothingMoreToATokenThatWasDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hash, next := watch(t, b, 0)
	if err := next(); err != nil {
		t.Fatal(err)
	}
	if err := b.store.DeleteToken(t.Context(), from(t, b, "aurora"), hash); err != nil {
		t.Fatal(err)
	}
	b.put(t, "secret")
	if err := next(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", err)
	}
}

func TestAStreamEndsAfterItsTokenWasDeletedThoughNothingHappens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.LookEvery(time.Millisecond)
	hash, next := watch(t, b, 0)
	if err := next(); err != nil {
		t.Fatal(err)
	}
	if err := b.store.DeleteToken(t.Context(), from(t, b, "aurora"), hash); err != nil {
		t.Fatal(err)
	}
	if err := next(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", err)
	}
}

func TestAStreamEndsWhenItsTokenExpires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, next := watch(t, b, 50*time.Millisecond)
	err := next()
	for err == nil {
		err = next()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", err)
	}
}

func TestAPullEndsWithItsToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.LookEvery(time.Millisecond)
	b.parts.body = func() (io.ReadCloser, int64) {
		return io.NopCloser(readerFunc(func(p []byte) (int, error) { return len(p), nil })), -1
	}
	stream, err := pb.NewTransferServiceClient(b.conn).Pull(as(t.Context(), b.operator), &pb.PullRequest{Participant: "aurora", Peer: "p", Asset: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := b.store.DeleteToken(t.Context(), from(t, b, "aurora"), rpc.HashToken(b.operator)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", err)
	}
}

func TestAStreamUnderAnIdempotencyKeyIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct{ name, path, other, body string }{
		{"publish", "/v1/participants/aurora/publish?format=csv", "&partial=true", "one two"},
		{"pull", "/v1/participants/aurora/pull?peer=p&asset=a", "&fresh=true", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := []string{"Idempotency-Key", tt.name}
			if code, text, _ := b.call(t, "POST", tt.path, b.operator, tt.body, key...); code != 200 {
				t.Fatalf("the first time: %d %s", code, text)
			}
			if code, text, _ := b.call(t, "POST", tt.path, b.operator, tt.body, key...); code != 409 || !strings.Contains(text, "idempotency.answered") {
				t.Errorf("the repeat: got %d %s, want 409 and that it was carried out", code, text)
			}
			if code, text, _ := b.call(t, "POST", tt.path+tt.other, b.operator, tt.body, key...); code != 409 || !strings.Contains(text, "idempotency.reused") {
				t.Errorf("the key with another request: got %d %s, want 409", code, text)
			}
			if code, text, _ := b.call(t, "POST", tt.path, b.process, tt.body, key...); code != 200 {
				t.Errorf("the key of another caller: got %d %s, want 200", code, text)
			}
			if code, _, _ := b.call(t, "POST", tt.path, b.operator, tt.body, "Idempotency-Key", "with space"); code != 400 {
				t.Errorf("a key with a space: got %d, want 400", code)
			}
		})
	}
	ctx := metadata.AppendToOutgoingContext(as(t.Context(), b.operator), "idempotency-key", "pull")
	stream, err := pb.NewTransferServiceClient(b.conn).Pull(ctx, &pb.PullRequest{Participant: "aurora", Peer: "p", Asset: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the repeat over gRPC: got %v, want Aborted", err)
	}
	told, err := b.store.EventsSince(t.Context(), from(t, b, "aurora"), 0, 100)
	if err != nil || len(told) != 4 { // by two callers each
		t.Errorf("%d things were done, %v; want 4", len(told), err)
	}
}
