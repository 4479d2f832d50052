package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// visit is what came of asking for a DID document the way a peer does.
type visit struct {
	did      participant.DID
	url      string // of the document
	host     string // host[:port] of it
	document *identity.Document
	seal     *tls.ConnectionState // nil: nobody spoke TLS
	dated    bool                 // who answered said what time it is
	off      time.Duration        // by how much our clock is ahead of that, at least; negative: behind
	err      error                // why there is no document
}

// answered is an answer that is no document.
type answered struct{ status int }

func (a *answered) Error() string {
	return fmt.Sprintf("the answer is %d %s", a.status, http.StatusText(a.status))
}

// visit asks once and follows no redirect, as peers do.
func (x *examination) visit(ctx context.Context, v *visit) {
	if _, v.url, v.err = identity.ParseDID(string(v.did)); v.err != nil {
		return
	}
	u, err := url.Parse(v.url)
	if err != nil {
		v.err = err
		return
	}
	v.host = u.Host
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, body, err := x.get(ctx, x.out, v.url, "", v)
	if err != nil {
		v.err = err
		return
	}
	v.seal = res.TLS
	if res.StatusCode != http.StatusOK {
		v.err = &answered{res.StatusCode}
		return
	}
	v.document, v.err = identity.ParseDocument(v.did, body)
}

// get asks for a document of at most MaxDocument bytes and compares clocks for v, if there is one. host, when it is set, is asked for by name.
func (x *examination) get(ctx context.Context, over http.RoundTripper, address, host string, v *visit) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Host = host
	r.Header.Set("Accept", "application/did+json, application/json")
	r.Header.Set("Cache-Control", "no-cache") // the origin's date and document, not those of who keeps copies
	r.Header.Set("User-Agent", "sluice")
	before := x.cfg.Now()
	res, err := over.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if v != nil {
		v.off, v.dated = ahead(before, x.cfg.Now(), res.Header)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, identity.MaxDocument+1))
	if err == nil && len(body) > identity.MaxDocument {
		err = fmt.Errorf("the answer is longer than %d bytes", identity.MaxDocument)
	}
	return res, body, err
}

// ahead is by how much our clock is ahead of the one of who answered between two moments: the least that explains the date of the answer, which is
// told in whole seconds. An answer that somebody kept is dated by when it was made, and says nothing.
func ahead(before, after time.Time, h http.Header) (off time.Duration, dated bool) {
	if age := h.Get("Age"); age != "" && age != "0" {
		return 0, false
	}
	from, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0, false
	}
	switch to := from.Add(time.Second); {
	case before.After(to):
		return before.Sub(to), true
	case after.Before(from):
		return after.Sub(from), true
	}
	return 0, true
}

// unreachable is why somebody cannot be reached: what is wrong, what mends it where the address is our own, and what does where it is somebody else's.
type unreachable struct{ why, ours, theirs string }

// explain says why a visit came to nothing.
func (x *examination) explain(v *visit) unreachable {
	name, port, err := net.SplitHostPort(v.host)
	if err != nil {
		name, port = v.host, "443"
	}
	look := "curl -v " + v.url
	if u, ok := explainTLS(v, name, port); ok {
		return u
	}
	var forbidden *egress.Forbidden
	var unknown *net.DNSError
	var status *answered
	var slow net.Error
	list := fmt.Sprintf("settings key egress.peers: [%q]", "https://"+v.host)
	switch err := v.err; {
	case errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusGone):
		return unreachable{fmt.Sprintf("%s says that there is no such document (%d)", v.host, status.status), "let " + v.url + " lead to this connector: " + look, look}
	case errors.As(err, &status) && status.status >= 300 && status.status < 400:
		return unreachable{fmt.Sprintf("%s sends elsewhere (%d), and nobody follows", v.url, status.status), "answer at " + v.url + " itself: " + look, look}
	case errors.As(err, &status):
		return unreachable{fmt.Sprintf("%s: %v", v.url, err), look, look}
	case errors.As(err, &forbidden):
		return unreachable{fmt.Sprintf("%s leads to %s, which is no public address: connectors do not go there", name, forbidden.Address), "dig +short " + name, "in a closed network: " + list}
	case errors.As(err, &unknown) && !unknown.IsNotFound:
		return unreachable{fmt.Sprintf("the name %s could not be looked up: %s", name, unknown.Err), "dig +short " + name, "dig +short " + name}
	case errors.As(err, &unknown):
		return unreachable{fmt.Sprintf("the name %s has no address: %s", name, unknown.Err), "make a DNS record of " + name + ", then: dig +short " + name, "dig +short " + name}
	case errors.Is(err, egress.ErrRefused):
		why := strings.TrimPrefix(err.Error(), egress.ErrRefused.Error()+": ")
		return unreachable{fmt.Sprintf("connectors do not go to %s: %s", v.host, why), "settings key public.host", "in a closed network: " + list}
	case errors.Is(err, syscall.ECONNREFUSED):
		return unreachable{fmt.Sprintf("nothing listens at %s", v.host), "let port " + port + " lead to public.listen, then: " + look, look}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return unreachable{fmt.Sprintf("%s does not answer within %s: something on the way drops what is sent", v.host, patience), "open port " + port + " in the firewall, then: " + look, look}
	}
	if v.seal != nil { // somebody answered, and not as it should
		return unreachable{fmt.Sprintf("%s: %v", v.url, v.err), "let " + v.url + " lead to this connector: " + look, look}
	}
	return unreachable{fmt.Sprintf("%s: %v", v.url, v.err), look, look}
}

// explainTLS says what is wrong with a certificate as clients see it.
func explainTLS(v *visit, name, port string) (unreachable, bool) {
	var seen *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var other x509.HostnameError
	var invalid x509.CertificateInvalidError
	var stranger x509.UnknownAuthorityError
	show := fmt.Sprintf("openssl s_client -connect %s -servername %s -showcerts </dev/null", net.JoinHostPort(name, port), name)
	if errors.As(v.err, &plain) {
		return unreachable{v.host + " does not speak TLS", "settings keys public.cert and public.key, or TLS in what stands in front", show}, true
	}
	if !errors.As(v.err, &seen) || len(seen.UnverifiedCertificates) == 0 {
		return unreachable{}, false
	}
	leaf := seen.UnverifiedCertificates[0]
	u := unreachable{ours: show, theirs: show}
	switch {
	case errors.As(v.err, &other):
		u.why = fmt.Sprintf("the certificate served at %s is for %s, not for %s", v.host, names(leaf), name)
		u.ours = "a certificate for " + name + " in settings keys public.cert and public.key; look: " + show
	case errors.As(v.err, &invalid) && invalid.Reason == x509.Expired:
		u.why = fmt.Sprintf("the certificate served at %s is good from %s until %s only", v.host, day(leaf.NotBefore), day(leaf.NotAfter))
		u.ours = "a new certificate in settings keys public.cert and public.key (no restart); look: " + show
	case errors.As(v.err, &stranger):
		u.why = fmt.Sprintf("the certificate served at %s %s", v.host, unsigned(seen.UnverifiedCertificates))
		u.ours = "the whole chain in settings key public.cert; look: " + show
		u.theirs = "settings key egress.roots, if its authority is to be trusted; look: " + show
	default:
		u.why = fmt.Sprintf("the certificate served at %s: %v", v.host, seen.Err)
	}
	return u, true
}

// names are those that a certificate is for.
func names(c *x509.Certificate) string {
	all := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name at all"
	}
	return sentence(all[:min(len(all), 5)])
}

// unsigned says why no authority that is known stands behind a chain: its middle is missing, or its top is nobody's.
func unsigned(chain []*x509.Certificate) string {
	top := chain[0]
	for {
		at := -1
		for i, c := range chain {
			if c != top && string(c.RawSubject) == string(top.RawIssuer) && top.CheckSignatureFrom(c) == nil {
				at = i
			}
		}
		if at < 0 {
			break
		}
		next := chain[at]
		chain = append(append([]*x509.Certificate{}, chain[:at]...), chain[at+1:]...)
		top = next
	}
	issuer := cmp.Or(top.Issuer.CommonName, top.Issuer.String())
	if string(top.RawSubject) == string(top.RawIssuer) {
		return fmt.Sprintf("was signed by %q, an authority that is not known here", issuer)
	}
	return fmt.Sprintf("comes without that of %q, which signed it: the chain is not whole, or its authority is not known here", issuer)
}
