package dcp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
)

const context = `"@context":["` + dcp.Context + `"]`

func TestWhatIsWrittenReadsBackTheSame(t *testing.T) {
	t.Parallel()
	scopes := []string{"org.eclipse.tractusx.vc.type:MembershipCredential:read", "org.eclipse.dspace.dcp.vc.id:urn:x"}
	body, err := dcp.EncodeQuery(scopes)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok, err := dcp.ParseQuery(body); err != nil || !ok || !slices.Equal(got, scopes) {
		t.Errorf("%s came back as %v, %t, %v", body, got, ok, err)
	}
	for _, presentations := range [][]string{nil, {"a.b.c"}, {"a.b.c", "d.e.f"}} {
		body, err := dcp.EncodeResponse(presentations)
		if err != nil || strings.Contains(string(body), "null") {
			t.Fatalf("%s, %v", body, err)
		}
		if got, err := dcp.ParseResponse(body); err != nil || !slices.Equal(got, presentations) {
			t.Errorf("%s came back as %v, %v", body, got, err)
		}
	}
}

func TestAQueryIsForScopesOrForADefinition(t *testing.T) {
	t.Parallel()
	query := func(members string) string {
		return `{` + context + `,"type":"PresentationQueryMessage"` + members + `}`
	}
	for name, tt := range map[string]struct {
		body string
		want string // what the refusal names; "" when it is well-formed
		ok   bool
	}{
		"one scope":                   {query(`,"scope":["a"]`), "", true},
		"twenty scopes":               {query(`,"scope":["a"` + strings.Repeat(`,"a"`, 19) + `]`), "", true},
		"members that we do not know": {query(`,"scope":["a"],"more":{"x":1}`), "", true},
		"further contexts":            {`{"@context":["https://x.example","` + dcp.Context + `"],"type":"PresentationQueryMessage","scope":["a"]}`, "", true},
		"a definition":                {query(`,"presentationDefinition":{"id":"x"}`), "", false},
		"both":                        {query(`,"scope":["a"],"presentationDefinition":{"id":"x"}`), "either", false},
		"neither":                     {query(``), "scope", false},
		"an empty list":               {query(`,"scope":[]`), "scope", false},
		"too many scopes":             {query(`,"scope":["a"` + strings.Repeat(`,"a"`, 20) + `]`), "scope", false},
		"a scope that is a string":    {query(`,"scope":"a"`), "scope", false},
		"a scope that is a number":    {query(`,"scope":[1]`), "scope", false},
		"an empty definition":         {query(`,"presentationDefinition":{}`), "presentationDefinition", false},
		"a definition that is null":   {query(`,"presentationDefinition":null`), "presentationDefinition", false},
		"a definition that is a list": {query(`,"presentationDefinition":[{"id":"x"}]`), "presentationDefinition", false},
		"another type":                {`{` + context + `,"type":"PresentationResponseMessage","scope":["a"]}`, "type", false},
		"the type under another name": {`{` + context + `,"@type":"PresentationQueryMessage","scope":["a"]}`, "type", false},
		"no context":                  {`{"type":"PresentationQueryMessage","scope":["a"]}`, "@context", false},
		"another context":             {`{"@context":["https://w3id.org/tractusx-trust/v0.8"],"type":"PresentationQueryMessage","scope":["a"]}`, "@context", false},
		"a context that is a string":  {`{"@context":"` + dcp.Context + `","type":"PresentationQueryMessage","scope":["a"]}`, "context", false},
		"a member twice":              {query(`,"scope":["a"],"scope":["b"]`), "duplicate", false},
		"a member in capitals too":    {query(`,"scope":["a"],"SCOPE":["b"]`), "duplicate", false},
		"something behind it":         {query(`,"scope":["a"]`) + "{}", "nothing after", false},
		"half of it":                  {`{` + context, "byte", false},
		"no object":                   {`[]`, "shape", false},
		"nothing":                     {``, "byte", false},
		"too deep":                    {query(`,"scope":["a"],"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40)), "levels", false},
		"too large":                   {query(`,"scope":["` + strings.Repeat("a", dcp.MaxQuery) + `"]`), "bytes", false},
	} {
		scopes, ok, err := dcp.ParseQuery([]byte(tt.body))
		if tt.want == "" {
			if err != nil || ok != tt.ok || ok != (len(scopes) > 0) {
				t.Errorf("%s: %v, %t, %v", name, scopes, ok, err)
			}
			continue
		}
		if !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), tt.want) || ok || scopes != nil {
			t.Errorf("%s: %v, %t, %v; want it to name %q", name, scopes, ok, err, tt.want)
		}
	}
}

func TestAResponseHoldsPresentationsThatCanBeChecked(t *testing.T) {
	t.Parallel()
	response := func(members string) string {
		return `{` + context + `,"type":"PresentationResponseMessage"` + members + `}`
	}
	for name, tt := range map[string]struct{ body, want string }{
		"a presentation in another form": {response(`,"presentation":["a.b.c",{"@context":[]}]`), "JWTs"},
		"a presentation that is null":    {response(`,"presentation":[null]`), "JWTs"},
		"a presentation that is alone":   {response(`,"presentation":"a.b.c"`), "presentation"},
		"another type":                   {`{` + context + `,"type":"PresentationQueryMessage","presentation":[]}`, "type"},
		"no context":                     {`{"type":"PresentationResponseMessage","presentation":[]}`, "@context"},
		"a member twice":                 {response(`,"presentation":[],"presentation":["a.b.c"]`), "duplicate"},
		"too large":                      {response(`,"presentation":["` + strings.Repeat("a", dcp.MaxResponse) + `"]`), "bytes"},
		"nothing":                        {``, "byte"},
	} {
		if got, err := dcp.ParseResponse([]byte(tt.body)); !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), tt.want) || got != nil {
			t.Errorf("%s: %v, %v; want it to name %q", name, got, err, tt.want)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(`{` + context + `,"type":"PresentationQueryMessage","scope":["a:B:read"]}`))
	f.Add([]byte(`{` + context + `,"type":"PresentationQueryMessage","presentationDefinition":{"id":"x"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		scopes, ok, err := dcp.ParseQuery(body)
		if err != nil || !ok {
			return
		}
		again, err := dcp.EncodeQuery(scopes)
		if err != nil {
			t.Fatal(err)
		}
		if back, ok, err := dcp.ParseQuery(again); err != nil || !ok || !slices.Equal(back, scopes) {
			t.Errorf("%s was accepted and reads back as %v, %t, %v", body, back, ok, err)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte(`{` + context + `,"type":"PresentationResponseMessage","presentation":["a.b.c"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		presentations, err := dcp.ParseResponse(body)
		if err != nil {
			return
		}
		again, err := dcp.EncodeResponse(presentations)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := dcp.ParseResponse(again); err != nil || !slices.Equal(back, presentations) {
			t.Errorf("%s was accepted and reads back as %v, %v", body, back, err)
		}
	})
}
