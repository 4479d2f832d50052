package e2e_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/sluice-connector/sluice"

// layers is the house, floor by floor: imports point down, or sideways within one floor. A pattern is a path
// below the module; "/*" stands for anything below. The first match counts.
var layers = []struct {
	floor    int
	patterns []string
}{
	{5, []string{"cmd/*", "e2e", "e2e/*", "tools/*"}},
	{2, []string{"connector/protocol/*", "connector/store"}},
	{3, []string{"connector/wire/*", "connector/console", "connector/store/*",
		"connector/dataplane/pull", "connector/dataplane/push", "connector/identity/keyfile", "policy/engine"}},
	{1, []string{"connector/catalog", "connector/negotiation", "connector/agreement", "connector/transfer", "connector/dataplane",
		"connector/identity", "connector/credential", "connector/twin", "connector/aspect", "connector/aspect/*", "connector/outbox",
		"connector/commit", "connector/process", "connector/publishing", "connector/page", "connector/settings", "connector/exchange"}},
	{0, []string{"connector/fault", "connector/participant", "policy", "policy/*", "schemas", "schemas/*", "certs", "certs/*"}},
	{4, []string{"connector", "connector/*"}},
}

// trees may be imported by those to their left, never back.
var trees = []string{"cmd", "e2e", "connector", "policy", "schemas"}

// forbidden below floor 2: the domain knows no transport, no database and no policy engine.
var forbidden = map[string]string{
	"net/http":                         "the domain speaks no HTTP; wire does",
	"google.golang.org/grpc":           "generated types stop at wire/rpc",
	"google.golang.org/protobuf":       "generated types stop at wire/rpc",
	"github.com/jackc/pgx":             "stores are ports; store/postgres keeps them",
	"github.com/ncruces/go-sqlite3":    "stores are ports; store/embedded keeps them",
	"github.com/open-policy-agent/opa": "policy/engine is the only importer of OPA",
	module + "/schemas/gen":            "generated types stop at wire/rpc",
	"database/sql":                     "stores are ports",
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		own := strings.TrimPrefix(p.ImportPath, module+"/")
		if strings.HasPrefix(own, "schemas/gen") {
			continue
		}
		from, ok := floorOf(own)
		if !ok {
			t.Errorf("%s stands on no floor: give it a row in layers", own)
			continue
		}
		for _, imported := range p.Imports {
			checkForbidden(t, own, from, imported)
			if !strings.HasPrefix(imported, module+"/") {
				continue
			}
			target := strings.TrimPrefix(imported, module+"/")
			if strings.HasPrefix(target, "schemas/gen") {
				continue
			}
			to, ok := floorOf(target)
			switch {
			case !ok:
				t.Errorf("%s imports %s, which stands on no floor", own, target)
			case to > from:
				t.Errorf("%s (floor %d) imports %s (floor %d): imports point down only", own, from, target, to)
			case treeOf(own) > treeOf(target) && treeOf(target) >= 0:
				t.Errorf("%s imports %s: between trees the way is %s, never back", own, target, strings.Join(trees, " -> "))
			}
		}
	}
}

func checkForbidden(t *testing.T, own string, floor int, imported string) {
	t.Helper()
	if floor >= 2 {
		return
	}
	for prefix, reason := range forbidden {
		if imported == prefix || strings.HasPrefix(imported, prefix+"/") {
			t.Errorf("%s (floor %d) imports %s: %s", own, floor, imported, reason)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	out := golist(t, "-f", "{{if and (not .Doc) .GoFiles}}{{.ImportPath}}{{end}}")
	for line := range strings.FieldsSeq(out) {
		if own := strings.TrimPrefix(line, module+"/"); !strings.HasPrefix(own, "schemas/gen") {
			t.Errorf("%s has no package comment", own)
		}
	}
}

func floorOf(own string) (int, bool) {
	for _, layer := range layers {
		for _, pattern := range layer.patterns {
			if below, deep := strings.CutSuffix(pattern, "/*"); deep && strings.HasPrefix(own, below+"/") {
				return layer.floor, true
			}
			if ok, _ := path.Match(pattern, own); ok {
				return layer.floor, true
			}
		}
	}
	return 0, false
}

func treeOf(own string) int {
	first, _, _ := strings.Cut(own, "/")
	for i, tree := range trees {
		if tree == first {
			return i
		}
	}
	return -1
}

func packages(t *testing.T) []pkg {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(golist(t, "-json=ImportPath,Imports")))
	var all []pkg
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

func golist(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"list"}, args...), module+"/...")...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	return string(out)
}
