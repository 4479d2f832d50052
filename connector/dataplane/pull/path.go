package pull

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluice-connector/sluice/connector/fault"
)

// cleanPath returns what stands below /{slug}/data/, decoded once. What is decided on is what is sent upstream, so every
// form that two readers could read differently is refused: encoded slashes and backslashes, dot segments, double encoding,
// empty segments, NUL, invalid UTF-8 (security rule T-40).
func cleanPath(r *http.Request) (string, error) {
	const op = "pull.path"
	if r.URL.IsAbs() || r.URL.Host != "" {
		return "", fault.New(op, fault.Malformed, "the request target must be in origin form")
	}
	if len(r.URL.EscapedPath())+len(r.URL.RawQuery) > maxPath {
		return "", fault.New(op, fault.TooLarge, "the path is longer than %d bytes", maxPath)
	}
	escaped := strings.ToLower(r.URL.EscapedPath())
	for _, bad := range []string{"%2f", "%5c", "%2e", "%25", "%00", "\\", ";"} {
		if strings.Contains(escaped, bad) {
			return "", fault.New(op, fault.Malformed, "the path holds %q, which is not served; write plain segments", bad)
		}
	}
	path := r.PathValue("path")
	if path == "" {
		return "", nil
	}
	if !plain(path) {
		return "", fault.New(op, fault.Malformed, "the path is not printable UTF-8")
	}
	for i, segment := range strings.Split(path, "/") {
		if segment == "." || segment == ".." || segment == "" && i < strings.Count(path, "/") {
			return "", fault.New(op, fault.Malformed, "the path holds an empty or dot segment")
		}
	}
	return path, nil
}

// cleanQuery reads the parameters, each pair once and strictly: what is decided on, and sent on, is their canonical form and never the
// bytes received. A semicolon, which some readers take for an ampersand, and whatever does not decode are refused.
func cleanQuery(r *http.Request) (url.Values, error) {
	const op = "pull.query"
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(op, fault.Malformed, "the query cannot be read in one way only; write name=value pairs between ampersands")
	}
	for name, values := range parameters {
		if name == "" || !plain(name) || slices.ContainsFunc(values, func(v string) bool { return !plain(v) }) {
			return nil, fault.New(op, fault.Malformed, "the query is not printable UTF-8, or a parameter has no name")
		}
	}
	return parameters, nil
}

func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f })
}

// settled reports whether the operator's own query has a parameter of the name, as any upstream may read names: without case, and without
// what stands in brackets.
func settled(own url.Values, name string) bool {
	stem := func(s string) string {
		s, _, _ = strings.Cut(strings.TrimSpace(s), "[")
		return s
	}
	for other := range own {
		if strings.EqualFold(stem(other), stem(name)) {
			return true
		}
	}
	return false
}

// join puts the checked path below the operator's base, and the parameters behind those of the base, none of which they may touch. The result
// is asserted to be below the base still.
func join(base, path string, parameters url.Values) (*url.URL, error) {
	const op = "pull.join"
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return nil, fault.New(op, fault.Internal, "the asset's address is not a URL")
	}
	target := *u
	if path != "" {
		target = *u.JoinPath(strings.Split(path, "/")...)
		if strings.HasSuffix(path, "/") && !strings.HasSuffix(target.Path, "/") {
			target.Path += "/"
		}
	}
	own, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fault.New(op, fault.Internal, "the asset's address has a query that cannot be read")
	}
	for name := range parameters {
		if settled(own, name) {
			return nil, fault.New(op, fault.Malformed, "the parameter %q is set by the asset itself", name)
		}
	}
	if len(parameters) > 0 {
		target.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+parameters.Encode(), "&")
	}
	root := strings.TrimSuffix(u.Path, "/")
	if target.Scheme != u.Scheme || target.Host != u.Host || target.Path != u.Path && !strings.HasPrefix(target.Path, root+"/") {
		return nil, fault.New(op, fault.Malformed, "the path leaves the asset")
	}
	return &target, nil
}
