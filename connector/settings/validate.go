package settings

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/participant"
)

// Fault is one thing wrong: the key, the value there, and what would be right.
type Fault struct {
	Key   string // "public.listen"
	Value string
	Want  string
}

func (f Fault) Error() string { return fmt.Sprintf("%s: %q: want %s", f.Key, f.Value, f.Want) }

// Faults is everything wrong with a file, in the order of the file.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return "settings: " + strings.Join(lines, "\nsettings: ")
}

// Validate reports all faults at once as Faults; nil when there is none. It opens no file and no connection.
func (s Settings) Validate() error {
	var c checker
	c.expect("data", s.Data, s.Data != "", "a directory")
	c.store(s.Store)
	c.listener("public", s.Public.Listen, s.Public.Cert, s.Public.Key)
	c.expect("public.host", s.Public.Host, isHost(s.Public.Host), "a lower-case host name, with :port unless it is 443")
	for i, proxy := range s.Public.Proxies {
		_, ok := network(proxy)
		c.expect(fmt.Sprintf("public.proxies[%d]", i), proxy, ok, "an address, or a network such as 10.1.0.0/16")
	}
	c.listener("management", s.Management.Listen, s.Management.Cert, s.Management.Key)
	c.expect("management.listen", s.Management.Listen, s.Management.Listen != s.Public.Listen || strings.HasSuffix(s.Management.Listen, ":0"),
		"another address than public.listen")
	for i, name := range s.Management.Hosts {
		c.expect(fmt.Sprintf("management.hosts[%d]", i), name, isHost(name) && !strings.Contains(name, ":"), "a lower-case host name without a port")
	}
	c.providers(s.Management.OIDC, len(s.Participants))
	c.participants(s.Participants)
	c.profiles(s.Profiles)
	c.wallet(s.Wallet)
	c.verification(s.Verification)
	c.origins("egress.peers", s.Egress.Peers)
	c.upstreams(s.Egress.Upstreams, len(s.Participants))
	c.origins("egress.callbacks", s.Egress.Callbacks)
	c.secrets(s.Egress.Secrets, len(s.Participants))
	c.between("limits.open_processes", s.Limits.OpenProcesses, 1, 1_000_000)
	c.between("limits.streams", s.Limits.Streams, 1, 1_000_000)
	c.between("limits.credential_requests", s.Limits.Requests, 1, 1_000_000)
	c.between("limits.connections", s.Limits.Connections, 1, 1_000_000)
	c.between("limits.address_connections", s.Limits.AddressConnections, 1, 1_000_000)
	c.between("limits.address_rate", s.Limits.AddressRate, 1, 1_000_000)
	c.between("limits.address_burst", s.Limits.AddressBurst, 1, 1_000_000)
	c.between("limits.peer_rate", s.Limits.PeerRate, 1, 1_000_000)
	c.between("limits.peer_burst", s.Limits.PeerBurst, 1, 1_000_000)
	c.expect("limits.approval", s.Limits.Approval.String(), s.Limits.Approval > 0, "a positive duration such as 72h")
	c.expect("limits.give_up", s.Limits.GiveUp.String(), s.Limits.GiveUp > 0, "a positive duration such as 24h")
	c.expect("log.level", s.Log.Level, slices.Contains([]string{"debug", "info", "warn", "error"}, s.Log.Level), "debug, info, warn or error")
	c.expect("log.format", s.Log.Format, s.Log.Format == "text" || s.Log.Format == "json", "text or json")
	if len(c.faults) == 0 {
		return nil
	}
	return c.faults
}

type checker struct{ faults Faults }

func (c *checker) expect(key, value string, ok bool, want string) {
	if !ok {
		c.faults = append(c.faults, Fault{Key: key, Value: value, Want: want})
	}
}

func (c *checker) between(key string, value, low, high int) {
	c.expect(key, strconv.Itoa(value), value >= low && value <= high, fmt.Sprintf("%d to %d", low, high))
}

func (c *checker) store(s Store) {
	switch s.Kind {
	case Embedded:
		c.expect("store.url", redacted(s.URL), s.URL == "", "nothing: the embedded store has no URL")
	case Postgres:
		u, err := url.Parse(s.URL)
		ok := err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
		c.expect("store.url", redacted(s.URL), ok, "postgres://user@host:port/database")
		if ok {
			_, secret := u.User.Password()
			c.expect("store.url", redacted(s.URL), !secret, "no password here: put it into a password file")
		}
	default:
		c.expect("store.kind", s.Kind, false, Embedded+" or "+Postgres)
	}
}

// redacted shows a URL without what may be a secret, parsable or not.
func redacted(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	return "…"
}

func (c *checker) listener(key, listen, cert, private string) {
	host, port, err := net.SplitHostPort(listen)
	n, bad := strconv.ParseUint(port, 10, 16)
	c.expect(key+".listen", listen, err == nil && bad == nil && strconv.FormatUint(n, 10) == port, "host:port")
	c.expect(key+".cert", cert, (cert == "") == (private == ""), "cert and key both, or neither")
	if err == nil && cert == "" && private == "" {
		c.expect(key+".listen", listen, isLoopback(host), "a loopback address, or TLS (cert and key)")
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// isHost accepts what can stand in a did:web identifier and in a URL: host name, optional port that is not 443.
func isHost(s string) bool {
	host, port, hasPort := strings.Cut(s, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || n == 443 || strconv.FormatUint(n, 10) != port {
			return false
		}
	}
	if host == "" || len(host) > 253 {
		return false
	}
	for _, label := range strings.Split(host, ".") {
		if participant.ValidSlug(label) != nil || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

func (c *checker) participants(all []Participant) {
	seen := map[string]bool{}
	for i, p := range all {
		key := fmt.Sprintf("participants[%d]", i)
		c.expect(key+".slug", p.Slug, participant.ValidSlug(p.Slug) == nil, "1 to 63 of a-z, 0-9 and '-'")
		c.expect(key+".slug", p.Slug, !seen[p.Slug], "a slug that no other participant has")
		c.expect(key+".name", p.Name, p.Name != "" && len(p.Name) <= 200, "a name of 1 to 200 bytes")
		seen[p.Slug] = true
	}
}

func (c *checker) profiles(all []Profile) {
	c.expect("profiles", "", len(all) > 0, "at least one")
	for i, p := range all {
		c.profile(fmt.Sprintf("profiles[%d]", i), p)
	}
}

func isDID(s string) bool { return strings.HasPrefix(s, "did:web:") && len(s) > len("did:web:") }

func (c *checker) profile(at string, p Profile) {
	for i, t := range p.Trust {
		key := fmt.Sprintf("%s.trust[%d]", at, i)
		c.expect(key+".issuer", t.Issuer, isDID(t.Issuer), "a DID of the method web")
		for j, lister := range t.Status {
			c.expect(fmt.Sprintf("%s.status[%d]", key, j), lister, isDID(lister), "a DID of the method web")
		}
		c.expect(key+".credentials", strings.Join(t.Credentials, ", "), len(t.Credentials) > 0 && !slices.Contains(t.Credentials, ""),
			"at least one type of credential")
	}
	for i, scope := range p.Required {
		c.expect(fmt.Sprintf("%s.required[%d]", at, i), scope, strings.Count(scope, ":") >= 1, "a scope like alias:Type:read")
	}
	if p.ListEntries != 0 {
		c.between(at+".list_entries", p.ListEntries, 8, 8<<20)
	}
	c.within(at+".list_grace", p.ListGrace, 0, time.Minute)
	if d := p.Directory; d != (Directory{}) {
		c.expect(at+".directory.url", d.URL, isSafe(d.URL), "an https URL without query and fragment (http on this machine only)")
		c.expect(at+".directory.did", d.DID, d.DID == "" || isDID(d.DID), "a DID of the method web, or nothing")
	}
	for i, purpose := range p.Accepts {
		c.expect(fmt.Sprintf("%s.accepts[%d]", at, i), purpose, purpose != "", "a usage purpose")
	}
}

func (c *checker) wallet(w Wallet) {
	c.expect("wallet.renew", strconv.FormatFloat(w.Renew, 'g', -1, 64), w.Renew >= 0 && w.Renew < 1, "a part of a life from 0 to less than 1, such as 0.75")
	for i, kind := range w.Request {
		c.expect(fmt.Sprintf("wallet.request[%d]", i), kind, kind != "", "a type of credential")
	}
	c.expect("wallet.look", w.Look.String(), w.Look > 0 && w.Look <= 24*time.Hour, "a positive duration of at most 24h")
	c.expect("wallet.watch", w.Watch.String(), w.Watch >= 0, "a duration such as 1h, or 0 for never")
	c.expect("wallet.give_up", w.GiveUp.String(), w.GiveUp >= w.Look, "a duration not less than wallet.look")
}

func (c *checker) verification(v Verification) {
	c.within("verification.remember", v.Remember, 0, 5*time.Minute)
	c.within("verification.list_life", v.ListLife, time.Second, 15*time.Minute)
	for i, schema := range v.Schemas {
		u, err := url.Parse(schema)
		ok := err == nil && isSafe(schema) && strings.HasPrefix(u.Path, "/")
		c.expect(fmt.Sprintf("verification.schemas[%d]", i), schema, ok, "an https URL with a path, which may end in a slash (http on this machine only)")
	}
	for i, did := range v.Informal {
		c.expect(fmt.Sprintf("verification.informal[%d]", i), did, isDID(did), "a DID of the method web")
	}
}

func (c *checker) within(key string, value, low, high time.Duration) {
	c.expect(key, value.String(), value >= low && value <= high, fmt.Sprintf("%s to %s", low, high))
}

func (c *checker) origins(key string, all []string) {
	for i, origin := range all {
		c.origin(fmt.Sprintf("%s[%d]", key, i), origin)
	}
}

func (c *checker) origin(key, origin string) {
	u, err := url.Parse(origin)
	ok := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.Port() != "" &&
		u.Scheme+"://"+u.Host == origin
	c.expect(key, origin, ok, "scheme://host:port and nothing else")
}

func (c *checker) upstreams(all []Upstream, hosted int) {
	for i, u := range all {
		key := fmt.Sprintf("egress.upstreams[%d]", i)
		c.origin(key+".origin", u.Origin)
		c.owners(key, u.Participants, hosted)
	}
}

// owners must be said unless there is no doubt: one company's server is never another's by omission.
func (c *checker) owners(key string, slugs []string, hosted int) {
	c.expect(key+".participants", "", len(slugs) > 0 || hosted == 1, "the slugs of those whose it is: only with exactly one participant in this file it goes without saying")
	for i, slug := range slugs {
		c.expect(fmt.Sprintf("%s.participants[%d]", key, i), slug, participant.ValidSlug(slug) == nil, "the slug of a participant")
	}
}

// secrets must be bound to origins, and each must come from a file of its own.
func (c *checker) secrets(secrets []Secret, hosted int) {
	seen := map[string]bool{}
	for i, s := range secrets {
		key := fmt.Sprintf("egress.secrets[%d]", i)
		c.expect(key+".name", s.Name, s.Name != "" && !seen[s.Name], "a name that no other secret has")
		c.expect(key+".header", s.Header, s.Header != "" && strings.Trim(s.Header, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == "", "the name of a header")
		c.expect(key+".file", s.File, s.File != "", "a file that holds the value of the header")
		c.expect(key+".origins", strings.Join(s.Origins, ", "), len(s.Origins) > 0, "at least one origin that it may be sent to")
		c.origins(key+".origins", s.Origins)
		c.owners(key, s.Participants, hosted)
		seen[s.Name] = true
	}
}
