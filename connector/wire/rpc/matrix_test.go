package rpc_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/schemas"
)

// What is said before a method is reached, by the words that there are for each; whatever else comes back was said by the method itself.
var refusals = []struct{ words, verdict string }{
	{"a valid bearer token is needed", "401"},
	{"there is no such participant", "404"},
	{"a token of the role", "403"},
	{"a token of the whole process is needed", "403"},
	{"there is no such address", "lost"},
}

func verdict(said string) string {
	for _, r := range refusals {
		if strings.Contains(said, r.words) {
			return r.verdict
		}
	}
	return "in"
}

// targets are the participants that a call can be about.
var targets = []struct{ name, slug string }{{"own", "aurora"}, {"another", "boreal"}, {"absent", "nobody"}, {"none", ""}}

// streamsREST are the addresses of the four that the gateway does not know.
var streamsREST = map[string]string{
	"AssetService_PublishFile":  "POST /v1/participants/{participant}/publish?format=csv",
	"TransferService_Pull":      "POST /v1/participants/{participant}/pull?peer=p&asset=a",
	"DecisionService_ExportLog": "GET /v1/participants/{participant}/log/export",
	"EventService_Watch":        "GET /v1/participants/{participant}/events?once=true",
}

// routes returns the addresses of each method over REST, from the description that is served.
func routes(t *testing.T) map[string][]string {
	t.Helper()
	var described struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(schemas.OpenAPI, &described); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for path, verbs := range described.Paths {
		for verb, operation := range verbs {
			id := strings.TrimRight(operation.OperationID, "0123456789")
			out[id] = append(out[id], strings.ToUpper(verb)+" "+path)
		}
	}
	for id, route := range streamsREST {
		out[id] = []string{route}
	}
	return out
}

// request makes an empty request about a participant; one that would wait for more does not.
func request(t *testing.T, m protoreflect.MethodDescriptor, slug string) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		t.Fatal(err)
	}
	var set func(protoreflect.Message)
	set = func(msg protoreflect.Message) {
		fields := msg.Descriptor().Fields()
		if f := fields.ByName("participant"); f != nil && f.Kind() == protoreflect.StringKind {
			msg.Set(f, protoreflect.ValueOfString(slug))
		}
		if f := fields.ByName("once"); f != nil {
			msg.Set(f, protoreflect.ValueOfBool(true))
		}
		if f := fields.ByName("settings"); f != nil {
			set(msg.Mutable(f).Message())
		}
	}
	msg := kind.New()
	set(msg)
	return msg.Interface()
}

// overGRPC calls the method and says what became of the caller.
func (b *bench) overGRPC(t *testing.T, m protoreflect.MethodDescriptor, token, slug string) string {
	t.Helper()
	ctx := t.Context()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	answer, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return verdict(status.Convert(b.conn.Invoke(ctx, name, request(t, m, slug), answer.New().Interface())).Message())
	}
	stream, err := b.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(request(t, m, slug)); err == nil {
		_ = stream.CloseSend()
	}
	for err == nil {
		err = stream.RecvMsg(answer.New().Interface())
	}
	return verdict(status.Convert(err).Message())
}

func (b *bench) overREST(t *testing.T, route, token, slug string) string {
	t.Helper()
	verb, path, _ := strings.Cut(route, " ")
	path = strings.ReplaceAll(path, "{participant}", slug)
	for {
		from := strings.IndexByte(path, '{')
		if from < 0 {
			break
		}
		path = path[:from] + "1" + path[from+strings.IndexByte(path[from:], '}')+1:]
	}
	body := ""
	if verb == http.MethodPost || verb == http.MethodPut {
		body = "{}"
	}
	_, text, _ := b.call(t, verb, path, token, body)
	return verdict(text)
}

// Every method, every caller, every participant, over both ways in: the table is reviewed when it changes, and a new method changes it.
func TestWhoGetsWhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	callers := []struct{ name, token string }{
		{"nobody", ""}, {"unknown", rpc.TokenPrefix + "x"}, {"expired", b.expired}, {"operator", b.operator}, {"reader", b.reader}, {"auditor", b.auditor},
		{"foreign", b.foreign}, {"process", b.process}, {"process-reader", b.token(t, 0, rpc.Reader, time.Time{})},
		{"agent", b.token(t, from(t, b, "aurora"), rpc.Agent, time.Time{})},
	}
	over := routes(t)
	var lines []string
	protoregistry.GlobalFiles.RangeFilesByPackage("sluice.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				m := f.Services().Get(i).Methods().Get(j)
				id := string(m.Parent().Name()) + "_" + string(m.Name())
				if len(over[id]) == 0 {
					t.Errorf("%s has no address over REST", id)
				}
				for _, at := range targets {
					line := fmt.Sprintf("%-40s %-8s", id, at.name)
					for _, c := range callers {
						got := b.overGRPC(t, m, c.token, at.slug)
						line += fmt.Sprintf(" %s=%s", c.name, got)
						for _, route := range over[id] {
							if strings.Contains(route, "{participant}") != (at.slug != "") {
								continue
							}
							if rest := b.overREST(t, route, c.token, at.slug); rest != got {
								t.Errorf("%s of %s by %s: %s over gRPC, %s over REST (%s)", id, at.name, c.name, got, rest, route)
							}
						}
					}
					lines = append(lines, line)
				}
			}
		}
		return true
	})
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/matrix.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/matrix.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
