package pull

import (
	"net/http"
	"net/url"
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
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
		return "", fault.New(op, fault.Malformed, "the path is not printable UTF-8")
	}
	for i, segment := range strings.Split(path, "/") {
		if segment == "." || segment == ".." || segment == "" && i < strings.Count(path, "/") {
			return "", fault.New(op, fault.Malformed, "the path holds an empty or dot segment")
		}
	}
	return path, nil
}

// join puts the checked path below the operator's base; the result is asserted to be below it still.
func join(base, path, query string) (*url.URL, error) {
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
	if query != "" {
		if u.RawQuery != "" {
			query = u.RawQuery + "&" + query
		}
		target.RawQuery = query
	}
	root := strings.TrimSuffix(u.Path, "/")
	if target.Scheme != u.Scheme || target.Host != u.Host || target.Path != u.Path && !strings.HasPrefix(target.Path, root+"/") {
		return nil, fault.New(op, fault.Malformed, "the path leaves the asset")
	}
	return &target, nil
}
