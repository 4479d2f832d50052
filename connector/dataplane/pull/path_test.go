package pull

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluice-connector/sluice/connector/fault"
)

func TestAPeersQueryNeverTouchesTheOperators(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, base, query, want string }{ // want "" is a refusal
		{"nothing beside nothing", "https://erp.internal/api", "", "https://erp.internal/api"},
		{"the peer's own", "https://erp.internal/api", "b=2&a=1", "https://erp.internal/api?a=1&b=2"},
		{"another parameter", "https://erp.internal/api?part=mine", "lang=de", "https://erp.internal/api?part=mine&lang=de"},
		{"in canonical form", "https://erp.internal/api?part=mine", "q=a%2fb+c&q=d&flag", "https://erp.internal/api?part=mine&flag=&q=a%2Fb+c&q=d"},
		{"nothing to add", "https://erp.internal/api?part=mine", "", "https://erp.internal/api?part=mine"},
		{"the same name", "https://erp.internal/api?part=mine", "part=other", ""},
		{"the same name once more", "https://erp.internal/api?part=mine", "x=1&part=other", ""},
		{"the same name without a value", "https://erp.internal/api?part=mine", "part", ""},
		{"the same name encoded", "https://erp.internal/api?part=mine", "p%61rt=other", ""},
		{"the same name in capitals", "https://erp.internal/api?part=mine", "PART=other", ""},
		{"the same name as a list", "https://erp.internal/api?part=mine", "part[]=other", ""},
		{"the same name as a list, encoded", "https://erp.internal/api?part=mine", "part%5B0%5D=other", ""},
		{"the same name behind a space", "https://erp.internal/api?part=mine", "+part=other", ""},
		{"a semicolon", "https://erp.internal/api?part=mine", "part=other;x=1", ""},
		{"a semicolon behind another", "https://erp.internal/api?part=mine", "x=1;part=other", ""},
		{"half an escape", "https://erp.internal/api", "a=%4", ""},
		{"no name", "https://erp.internal/api", "=x", ""},
		{"a line break", "https://erp.internal/api", "a=%0d%0a", ""},
		{"a NUL", "https://erp.internal/api", "a%00=1", ""},
		{"no UTF-8", "https://erp.internal/api", "a=%ff", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/cobalt/data?"+tt.query, nil)
		parameters, err := cleanQuery(r)
		got := ""
		if err == nil {
			u, joined := join(tt.base, "", parameters)
			if err = joined; err == nil {
				got = u.String()
			}
		}
		if got != tt.want || tt.want == "" && !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}
