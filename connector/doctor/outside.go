package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// publicHost judges whether others can come to public.host at all, whatever is served there, and whether it leads to this machine, as far as
// this machine can tell.
func (x *examination) publicHost(ctx context.Context) {
	const check = "public host"
	host := x.set.Public.Host
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "443"
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		x.add(check, Warning, name+" is every machine's name for itself: others cannot reach what is hosted here. The host is part of each DID and never changes",
			"sluice init --dir ELSEWHERE --host NAME --participant SLUG")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	addresses, err := x.cfg.Resolve(ctx, name)
	var unknown *net.DNSError
	switch {
	case err != nil && !(errors.As(err, &unknown) && unknown.IsNotFound):
		x.add(check, Warning, fmt.Sprintf("the name %s could not be looked up: %v", name, err), "dig +short "+name)
		return
	case len(addresses) == 0:
		x.add(check, Fault, fmt.Sprintf("the name %s has no address: nobody can find what is hosted here", name), "make a DNS record of "+name+", then: dig +short "+name)
		return
	}
	var said []string
	private := false
	for _, a := range addresses {
		said = append(said, a.Unmap().String())
		private = private || !egress.Public(a.Unmap()) // the file of hosts writes an address of version 4 as one of version 6
	}
	leads := name + " leads to " + sentence(said)
	list := fmt.Sprintf("settings key egress.peers of each peer: [%q]", x.origin())
	switch {
	case private && !x.listed(x.origin()):
		x.add(check, Fault, leads+" as seen from here, which is no public address: others cannot reach this, connectors refuse to go there",
			"dig +short "+name+" from outside; in a closed network, egress.peers here and "+list)
	case private:
		x.add(check, Warning, leads+", outside of the public address space: only peers come here whose settings let them", list)
	case port != "443":
		x.add(check, Warning, leads+"; peers go to port 443 only, unless their settings let them come to "+port, list)
	default:
		x.add(check, OK, leads, "")
	}
	if x.elsewhere(addresses) {
		x.add(check, Warning, leads+", which is no address of this machine: peers may come to another one", "ip -brief address")
	}
}

// elsewhere reports whether addresses are those of another machine as far as can be told: behind a proxy or a router that translates they need not be ours.
func (x *examination) elsewhere(addresses []netip.Addr) bool {
	if x.set.Public.Cert == "" || len(x.set.Public.Proxies) > 0 {
		return false
	}
	own, err := x.cfg.Own()
	if err != nil {
		return false
	}
	public := false // whether this machine has a public address itself, so that nobody need translate
	for _, a := range own {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if slices.ContainsFunc(addresses, func(b netip.Addr) bool { return b.Unmap() == prefix.Addr().Unmap() }) {
			return false
		}
		public = public || egress.Public(prefix.Addr())
	}
	return !slices.ContainsFunc(addresses, func(a netip.Addr) bool {
		return a.IsLoopback() || egress.Public(a) && !public
	})
}

// birth is before any binary of this program was built: an earlier clock is wrong.
var birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// strict is how far clocks may differ where others are stricter than this house.
const strict = 5 * time.Second

// reading is how far our clock is ahead of a host's.
type reading struct {
	host string
	off  time.Duration
}

// clock compares this machine's clock with those of the hosts that were asked anyway. One that is alone with its time is wrong itself; where all of
// them disagree with this machine, this machine is. Our own host counts when nobody else answers: its clock is this one, or its proxy's.
func (x *examination) clock() {
	const check = "clock"
	const mend = "sudo timedatectl set-ntp true   (what it says now: timedatectl timesync-status)"
	now := x.cfg.Now().UTC()
	if now.Before(birth) {
		x.add(check, Fault, fmt.Sprintf("it says %s: tokens, credentials and certificates would be judged by that", now.Format(time.RFC3339)), mend)
		return
	}
	readings := x.readings()
	if len(readings) == 0 {
		x.add(check, Warning, "it says "+now.Format(time.RFC3339)+", and there was nobody to compare it with", "timedatectl timesync-status")
		return
	}
	slices.SortFunc(readings, func(a, b reading) int { return int(a.off - b.off) })
	// Of the two in the middle of an even number the one that speaks for this clock.
	off := readings[(len(readings)-1)/2].off
	if other := readings[len(readings)/2].off; other.Abs() < off.Abs() {
		off = other
	}
	var hosts []string
	for _, r := range readings {
		hosts = append(hosts, r.host)
	}
	way := map[bool]string{true: "behind", false: "ahead of"}[off < 0]
	told := fmt.Sprintf("this machine's clock is %s %s that of %s", off.Abs().Round(time.Second), way, sentence(hosts))
	if len(hosts) > 1 {
		told = fmt.Sprintf("this machine's clock is %s %s the middle of %d others (%s)", off.Abs().Round(time.Second), way, len(hosts), sentence(hosts))
	}
	switch {
	case off.Abs() > identity.Leeway:
		x.add(check, Fault, fmt.Sprintf("%s: peers allow %s, and refuse each token that is made here", told, identity.Leeway), mend)
		return
	case off.Abs() > strict:
		x.add(check, Warning, fmt.Sprintf("%s: some peers allow %s only", told, strict), mend)
	default:
		x.add(check, OK, fmt.Sprintf("%s; it agrees with %s", now.Format(time.RFC3339), sentence(hosts)), "")
	}
	for _, r := range readings {
		if r.off.Abs() > identity.Leeway {
			x.add(check, Warning, fmt.Sprintf("the clock of %s is %s away from this one, which others agree with: what it signs is refused here", r.host, r.off.Abs().Round(time.Second)),
				"tell its operator; look: curl -sI https://"+r.host+"/ | grep -i ^date")
		}
	}
}

// readings are one of each host; ours only when there is no other.
func (x *examination) readings() []reading {
	var others, own []reading
	for _, v := range x.visits {
		if !v.dated {
			continue
		}
		list := &others
		if v.host == x.set.Public.Host {
			list = &own
		}
		at := slices.IndexFunc(*list, func(r reading) bool { return r.host == v.host })
		if at < 0 {
			*list = append(*list, reading{v.host, v.off})
			continue
		}
		if v.off.Abs() < (*list)[at].off.Abs() { // the visit that was held up least
			(*list)[at].off = v.off
		}
	}
	if len(others) == 0 {
		others = own
	}
	slices.SortFunc(others, func(a, b reading) int { return strings.Compare(a.host, b.host) })
	return others
}

// issuers checks that whoever is believed can be believed: its document is there, and has a key that signs credentials.
func (x *examination) issuers() {
	for _, did := range x.believed() {
		check := "issuer " + string(did)
		v := x.visits[did]
		switch {
		case v.err != nil && x.ours(did) && !x.serving:
			x.add(check, Warning, "not looked at: it is hosted here, and the connector does not run", x.serve())
		case v.err != nil:
			u := x.explain(v)
			x.add(check, Fault, u.why+": nothing that it issued can be checked, and who shows it is refused", u.theirs)
		case !slices.ContainsFunc(v.document.KeyIDs(), func(kid string) bool {
			_, err := v.document.Key(kid, identity.AssertionMethod)
			return err == nil
		}):
			x.add(check, Fault, "its document lists no key under assertionMethod that can be used here: nothing that it issued can be checked", "tell its operator; look: curl -s "+v.url)
		default:
			x.add(check, OK, "its document is there", "")
		}
	}
	for i, p := range x.profiles {
		if n := len(x.book.Terms(p.ID).Issuers); n > maxIssuers {
			x.add("trust", Warning, fmt.Sprintf("%s has %d issuers: not all of them were asked", p.ID, n), fmt.Sprintf("settings key profiles[%d].trust", i))
		}
	}
}

// seen judges the certificate that our own host shows to everybody, which may be a proxy's.
func (x *examination) seen() {
	const check = "certificate that peers see"
	for _, p := range x.locals() {
		v := x.visits[p.DID]
		if v.seal == nil || len(v.seal.PeerCertificates) == 0 {
			continue
		}
		leaf := v.seal.PeerCertificates[0]
		left, own := leaf.NotAfter.Sub(x.cfg.Now()), x.leaf != nil && x.leaf.Equal(leaf)
		switch {
		case own:
			x.add(check, OK, "it is that of public.cert", "")
		case left < soon(leaf.NotBefore, leaf.NotAfter):
			x.add(check, Warning, "it ends in "+span(left), "a new certificate where TLS ends in front of the connector")
		case x.leaf != nil:
			x.add(check, Warning, fmt.Sprintf("it is another one than that of public.cert, for %s, good until %s: something in front ends TLS", names(leaf), day(leaf.NotAfter)),
				"settings keys public.cert and public.proxies, or take away what stands in front")
		default:
			x.add(check, OK, "good until "+day(leaf.NotAfter), "")
		}
		return
	}
}

// span tells a duration in the unit that fits.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return d.Round(time.Second).String()
}
