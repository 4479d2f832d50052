package e2e_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"
)

const module = "github.com/sluice-connector/sluice"

// floors is the house, floor by floor: imports point down, or sideways within one floor. Each package has its row; a new one gets one by a
// decision, not by a pattern. What is generated (schemas/gen) is judged by importers alone.
var floors = [][]string{
	0: {"certs", "connector/fault", "connector/page", "connector/participant", "connector/turn", "policy", "policy/decisionlog", "policy/decisionlog/durable", "policy/odrl", "policy/profile", "policy/reason", "policy/rego",
		"schemas", "schemas/ijson", "schemas/jsonld"},
	1: {"connector/agreement", "connector/aspect", "connector/aspect/sheet", "connector/catalog", "connector/commit", "connector/credential", "connector/credential/statuslist", "connector/dataplane", "connector/directory",
		"connector/exchange", "connector/identity", "connector/issuer", "connector/negotiation", "connector/outbox", "connector/process", "connector/publishing", "connector/settings", "connector/transfer",
		"connector/trust", "connector/wallet"},
	2: {"connector/protocol/dcp", "connector/protocol/dsp", "connector/store"},
	3: {"connector/dataplane/pull", "connector/identity/keyring", "connector/store/embedded", "connector/store/embedded/faultfs", "connector/store/postgres",
		"connector/store/sqlstore", "connector/store/storetest", "connector/wire/dcphttp", "connector/wire/dsphttp", "connector/wire/egress", "connector/wire/gate", "connector/wire/problem",
		"connector/wire/rpc", "policy/decisionlog/markfile", "policy/engine"},
	4: {"connector", "connector/doctor"},
	5: {"certs/gen", "cmd/sluice", "connector/network", "e2e", "e2e/bench", "e2e/crash", "e2e/dcptck", "e2e/dcptck/kit", "e2e/hostile", "e2e/interop", "e2e/kits", "e2e/pair", "e2e/simulate", "e2e/tck", "e2e/tck/kit", "tools/pgtest"},
}

// trees may be imported by those to their left, never back.
var trees = []string{"cmd", "e2e", "connector", "policy", "schemas"}

// importers says who may import what carries a technology; nobody else may. A path stands for what is below it too.
var importers = map[string][]string{
	"github.com/open-policy-agent/opa": {"policy/engine"},
	"github.com/jackc/pgx":             {"connector/store/postgres", "e2e/bench", "e2e/kits"},
	"github.com/ncruces/go-sqlite3":    {"connector/store/embedded", "connector/store/embedded/faultfs"},
	"database/sql":                     {"connector/store/embedded", "connector/store/postgres", "connector/store/sqlstore", "e2e/bench"},
	"github.com/lestrrat-go/jwx":       {"connector/identity"},
	"github.com/prometheus":            {"connector"},
	"github.com/xuri/excelize":         {"connector/aspect/sheet"},
	"google.golang.org/grpc":           {"cmd/sluice", "connector/wire/problem", "connector/wire/rpc"},
	"google.golang.org/protobuf":       {"cmd/sluice", "connector/wire/rpc"},
	"google.golang.org/genproto":       {"cmd/sluice", "connector/wire/rpc"},
	module + "/schemas/gen":            {"cmd/sluice", "connector/wire/rpc"},
	"net/http": {"cmd/sluice", "connector", "connector/dataplane/pull", "connector/doctor", "connector/wire/dcphttp", "connector/wire/dsphttp", "connector/wire/egress",
		"connector/wire/gate", "connector/wire/problem", "connector/wire/rpc", "e2e/bench", "e2e/dcptck", "e2e/dcptck/kit", "e2e/interop", "e2e/pair", "e2e/tck", "e2e/tck/kit"},
}

// modules are those that the product stands on directly: one more is a decision.
var modules = []string{
	"github.com/google/go-cmp", "github.com/google/uuid", "github.com/gowebpki/jcs", "github.com/grpc-ecosystem/grpc-gateway/v2", "github.com/jackc/pgx/v5",
	"github.com/lestrrat-go/jwx/v2", "github.com/ncruces/go-sqlite3", "github.com/open-policy-agent/opa", "github.com/prometheus/client_golang", "github.com/rogpeppe/go-internal",
	"github.com/santhosh-tekuri/jsonschema/v6", "github.com/spf13/cobra", "github.com/transparency-dev/merkle", "github.com/xuri/excelize/v2", "golang.org/x/mod",
	"golang.org/x/sync", "golang.org/x/sys", "golang.org/x/text", "google.golang.org/genproto/googleapis/rpc", "google.golang.org/grpc",
	"google.golang.org/protobuf", "gopkg.in/yaml.v3",
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	floor := map[string]int{}
	for n, all := range floors {
		for _, own := range all {
			floor[own] = n
		}
	}
	seen := map[string]bool{}
	for _, p := range packages(t) {
		own := strings.TrimPrefix(p.ImportPath, module+"/")
		if generated(own) {
			continue
		}
		seen[own] = true
		from, ok := floor[own]
		if !ok {
			t.Errorf("%s stands on no floor: give it a row in floors", own)
			continue
		}
		for _, imported := range p.Imports {
			target, ours := strings.CutPrefix(imported, module+"/")
			if !ours || generated(target) {
				continue
			}
			to, ok := floor[target]
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
	for own := range floor {
		if !seen[own] {
			t.Errorf("%s has a row in floors and is not there", own)
		}
	}
}

func generated(own string) bool { return strings.HasPrefix(own, "schemas/gen/") }

func TestATechnologyIsKnownToItsImportersOnly(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, p := range packages(t) {
		own := strings.TrimPrefix(p.ImportPath, module+"/")
		if generated(own) {
			continue
		}
		for _, imported := range p.Imports {
			for technology, allowed := range importers {
				if imported != technology && !strings.HasPrefix(imported, technology+"/") {
					continue
				}
				used[technology+" "+own] = true
				if !slices.Contains(allowed, own) {
					t.Errorf("%s imports %s, which is for %v only", own, imported, allowed)
				}
			}
		}
	}
	for technology, allowed := range importers {
		for _, own := range allowed {
			if !used[technology+" "+own] {
				t.Errorf("%s may import %s and does not: take it off the list", own, technology)
			}
		}
	}
}

func TestTheProductStandsOnTheseModulesOnly(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	var direct []string
	for _, r := range file.Require {
		if !r.Indirect {
			direct = append(direct, r.Mod.Path)
		}
	}
	if diff := cmp.Diff(modules, direct); diff != "" {
		t.Errorf("go.mod (-decided +there):\n%s", diff)
	}
	if len(file.Replace) > 0 {
		t.Errorf("go.mod replaces %v: what is built must be what is published", file.Replace)
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
