package identity

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-connector/sluice/connector/participant"
)

// maxDID bounds a DID in bytes.
const maxDID = 512

// ParseDID checks a did:web strictly (DCP 1.0, section 2.1) and returns the https URL of its document. It takes the one form that a DID has: DIDs
// are compared byte by byte, in trust lists and elsewhere, so a second spelling of the same company would be somebody else.
func ParseDID(s string) (participant.DID, string, error) {
	rest, ok := strings.CutPrefix(s, "did:web:")
	if !ok || len(s) > maxDID {
		return "", "", fmt.Errorf("%q is not a did:web of at most %d bytes", short(s), maxDID)
	}
	parts := strings.Split(rest, ":")
	authority, err := parseAuthority(parts[0])
	if err != nil {
		return "", "", fmt.Errorf("%q: %w", short(s), err)
	}
	if len(parts) == 1 {
		return participant.DID(s), "https://" + authority + "/.well-known/did.json", nil
	}
	path := ""
	for _, part := range parts[1:] {
		segment, err := parseSegment(part)
		if err != nil {
			return "", "", fmt.Errorf("%q: %w", short(s), err)
		}
		path += "/" + segment
	}
	return participant.DID(s), "https://" + authority + path + "/did.json", nil
}

// FormatDID is the DID of a hosted participant: host is host or host:port.
func FormatDID(host, slug string) participant.DID {
	return participant.DID("did:web:" + strings.Replace(host, ":", "%3A", 1) + ":" + slug)
}

func parseAuthority(s string) (string, error) {
	host, port, hasPort := strings.Cut(s, "%3A")
	if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" ||
		strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return "", fmt.Errorf("the host is not a DNS name in lower case, with %%3A before a port")
	}
	last := host[strings.LastIndex(host, ".")+1:]
	if strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("the host is an address; did:web needs a name")
	}
	if !hasPort {
		return host, nil
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
		return "", fmt.Errorf("the port is not 1 to 65535")
	}
	return host + ":" + port, nil
}

// plain are the characters that stand for themselves in a DID.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

// parseSegment decodes one segment and encodes it again as that of a URL: decoding the whole would let a segment become two, or another host.
func parseSegment(s string) (string, error) {
	decoded, err := url.PathUnescape(s)
	if err != nil || decoded == "" || decoded == "." || decoded == ".." || strings.ContainsAny(decoded, `/\%?#@`) ||
		strings.ContainsFunc(decoded, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) {
		return "", fmt.Errorf("a path segment is empty, a dot segment, or has a character that does not belong there")
	}
	if s != formatSegment(decoded) {
		return "", fmt.Errorf("a path segment is not in its one form: %%XX in capitals, and for nothing but what needs it")
	}
	return url.PathEscape(decoded), nil
}

func formatSegment(decoded string) string {
	var b strings.Builder
	for i := range len(decoded) {
		if strings.IndexByte(plain, decoded[i]) >= 0 {
			b.WriteByte(decoded[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", decoded[i])
		}
	}
	return b.String()
}

func short(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
