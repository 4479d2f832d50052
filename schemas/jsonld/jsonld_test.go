package jsonld_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/schemas/ijson"
	"github.com/sluice-connector/sluice/schemas/jsonld"
)

const (
	own   = `"https://w3id.org/dspace/2025/1/context.jsonld"`
	older = `{"dspace":"https://w3id.org/dspace/2024/1/","odrl":"http://www.w3.org/ns/odrl/2/","@vocab":"https://w3id.org/edc/v0.0.1/ns/"}`
	most  = 1 << 20
)

func TestAMessageGetsThePlainNamesAndShapes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ context, body, want string }{
		"a context as a string":        {own, `"@type":"CatalogRequestMessage"`, `"@type":"CatalogRequestMessage"`},
		"prefixes under a known":       {own, `"dspace:code":"x","odrl:permission":{"odrl:action":"use"}`, `"code":"x","permission":[{"action":"use"}]`},
		"prefixes of an object":        {older, `"dspace:state":"dspace:AGREED"`, `"state":"AGREED"`},
		"a prefix of its own":          {`{"p":"http://www.w3.org/ns/odrl/2/"}`, `"p:operator":{"@id":"p:eq"}`, `"operator":"http://www.w3.org/ns/odrl/2/eq"`},
		"whole IRIs":                   {older, `"https://w3id.org/dspace/2025/1/code":"x"`, `"code":"x"`},
		"another vocabulary":           {older, `"permission":"x"`, `"https://w3id.org/edc/v0.0.1/ns/permission":"x"`},
		"strings in objects":           {own, `"@id":["x"],"code":{"@value":"x","@language":"en"},"consumerPid":{"@id":"urn:x"},"target":[{"@id":"y","@type":"Asset"}]`, `"@id":"x","code":"x","consumerPid":"urn:x","target":"y"`},
		"single values":                {own, `"reason":"x","dataset":{"@id":"y"},"filter":{"a":1}`, `"reason":["x"],"dataset":[{"@id":"y"}],"filter":[{"a":1}]`},
		"a list of one that is a node": {own, `"offer":[{"@id":"x"}]`, `"offer":{"@id":"x"}`},
		"lists in objects":             {own, `"and":{"@list":[{"@id":"x"}]},"rightOperand":{"@list":["x"]}`, `"and":[{"@id":"x"}],"rightOperand":["x"]`},
		"one operand stays one":        {own, `"rightOperand":{"@value":5,"@type":"xsd:integer"}`, `"rightOperand":5`},
		"numbers keep their digits":    {older, `"dspace:filter":[1.50]`, `"filter":[1.50]`},
		"two texts are not chosen":     {`[` + own + `,"https://w3id.org/edc/dspace/v0.0.1"]`, `"code":["x","y"]`, `"code":["x","y"]`},
		"an unknown context unneeded":  {`[` + own + `,"https://elsewhere.example/c"]`, `"consumerPid":"x"`, `"consumerPid":"x"`},
	} {
		want := canonical(t, `{"@context":[`+own+`],`+tt.want+`}`)
		text := `{"@context":` + tt.context + `,` + tt.body + `}`
		got, err := jsonld.Plain([]byte(text), most)
		if err != nil || canonical(t, string(got)) != want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, want)
			continue
		}
		if again, err := jsonld.Plain(got, most); err != nil || again != nil {
			t.Errorf("%s: the plain form becomes %s, %v", name, again, err)
		}
	}
}

func canonical(t *testing.T, text string) string {
	t.Helper()
	out, err := ijson.Canonical([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return string(out)
}

func TestWhatCouldChangeAMeaningIsRefused(t *testing.T) {
	t.Parallel()
	many := func(n int, of func(int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = of(i)
		}
		return strings.Join(parts, ",")
	}
	prefix := func(i int) string { return fmt.Sprintf(`"p%d":"https://x.example/%d/"`, i, i) }
	for name, tt := range map[string]struct{ context, body string }{
		"no context":                        {`null`, `"code":"x"`},
		"no contexts":                       {`[]`, `"code":"x"`},
		"a context that is a number":        {`[` + own + `,7]`, `"code":"x"`},
		"a term that is redefined":          {`[` + own + `,{"permission":"https://x.example/"}]`, `"code":"x"`},
		"a term that is redefined before":   {`[{"permission":"https://x.example/"},` + own + `]`, `"code":"x"`},
		"a known prefix redefined":          {`[{"odrl":"https://x.example/"}]`, `"code":"x"`},
		"another release of a prefix":       {`[{"cx-policy":"https://w3id.org/catenax/policy/"}]`, `"code":"x"`},
		"a prefix with two meanings":        {`[{"x":"https://x.example/"},{"x":"https://y.example/"}]`, `"x:y":1`},
		"two vocabularies":                  {`[{"@vocab":"https://x.example/"},{"@vocab":"https://y.example/"}]`, `"y":1`},
		"a scheme as prefix":                {`[{"urn":"http://www.w3.org/ns/odrl/2/"}]`, `"urn:permission":1`},
		"a term with a definition":          {`[` + own + `,{"x":{"@id":"odrl:permission","@container":"@set"}}]`, `"x":1`},
		"an alias of a term":                {`[` + own + `,{"x":"odrl:permission"}]`, `"x":1`},
		"an alias of a keyword":             {`[` + own + `,{"id":"@id"}]`, `"id":1`},
		"an import":                         {`[{"@import":"https://x.example/c/"}]`, `"code":"x"`},
		"a base":                            {`[` + own + `,{"@base":"https://x.example/"}]`, `"code":"x"`},
		"a term set to nothing":             {`[` + own + `,{"permission":null}]`, `"permission":[]`},
		"another version of JSON-LD":        {`[` + own + `,{"@version":1.0}]`, `"code":"x"`},
		"a context further down":            {`[` + own + `]`, `"offer":{"@context":[` + own + `],"@id":"x"}`},
		"a graph":                           {`[` + own + `]`, `"@graph":[{"code":"x"}]`},
		"one member under two names":        {`[` + own + `]`, `"code":"x","dspace:code":"y"`},
		"a term of an unknown context":      {`[` + own + `,"https://x.example/c"]`, `"surprise":"x"`},
		"a prefix of an unknown context":    {`[` + own + `,"https://x.example/c"]`, `"x:surprise":"x"`},
		"a type of an unknown context":      {`[` + own + `,"https://x.example/c"]`, `"@type":"Surprise"`},
		"an operand of an unknown context":  {`[` + own + `,"https://x.example/c"]`, `"leftOperand":"Surprise"`},
		"a bare term where none is defined": {`["https://w3id.org/dspace/2024/1/context.json"]`, `"permission":[]`},
		"a bare term under an unknown one":  {`["https://x.example/c"]`, `"code":"x"`},
		"a depth of seventeen":              {`[` + own + `]`, `"x":` + strings.Repeat("[", 17) + strings.Repeat("]", 17)},
		"ten thousand values":               {`[` + own + `]`, `"x":[` + many(10000, func(int) string { return "1" }) + `]`},
		"a hundred prefixes":                {`[{` + many(100, prefix) + `}]`, `"code":"x"`},
		"a hundred prefixes, one by one":    {`[` + many(30, func(i int) string { return "{" + prefix(4*i) + "," + prefix(4*i+1) + "," + prefix(4*i+2) + "}" }) + `]`, `"code":"x"`},
		"a hundred contexts":                {`[` + many(100, func(int) string { return own }) + `]`, `"code":"x"`},
		"a member twice":                    {`[` + own + `]`, `"code":"x","code":"y"`},
	} {
		got, err := jsonld.Plain([]byte(`{"@context":`+tt.context+`,`+tt.body+`}`), most)
		var f *ijson.Error
		if !errors.As(err, &f) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := jsonld.Plain([]byte(strings.Repeat(" ", most)+"{}"), most); err == nil {
		t.Error("what is too large was read")
	}
	for _, text := range []string{"", "null", "[]", "7", `"x"`} {
		if _, err := jsonld.Plain([]byte(text), most); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte(`{"@context":[` + own + `],"@type":"Offer","offer":[{"odrl:permission":{"odrl:action":{"@id":"odrl:use"}}}]}`))
	f.Add([]byte(`{"@context":` + older + `,"dspace:dataAddress":{"@type":"edc:DataAddress","edc:x":"y","endpoint":"z"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := jsonld.Plain(data, most)
		if err != nil || plain == nil {
			return
		}
		var m map[string]any
		if json.Unmarshal(plain, &m) != nil {
			t.Fatalf("%s became %s", data, plain)
		}
		if context, ok := m["@context"].([]any); !ok || len(context) != 1 || context[0] != jsonld.Context {
			t.Fatalf("%s became %s", data, plain)
		}
	})
}
