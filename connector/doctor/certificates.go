package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/sluice-connector/sluice/connector"
)

// authorities reads those that peers are judged by.
func (x *examination) authorities() {
	const check = "certificate authorities"
	if x.roots = x.cfg.Roots; x.roots != nil || x.set.Egress.Roots == "" {
		return
	}
	var err error
	if x.roots, err = connector.Roots(x.set.Egress.Roots); err != nil {
		x.add(check, Fault, err.Error(), "settings key egress.roots")
		return
	}
	x.add(check, OK, "those of the system, and "+x.set.Egress.Roots, "")
}

// certificates judges the files, whether anybody serves from them or not.
func (x *examination) certificates() {
	p, m := x.set.Public, x.set.Management
	name := p.Host
	if host, _, err := net.SplitHostPort(p.Host); err == nil {
		name = host
	}
	x.leaf = x.certificate("certificate for peers", "public", p.Cert, p.Key, name)
	x.certificate("certificate of the management API", "management", m.Cert, m.Key, "")
	if p.Cert == "" && len(p.Proxies) == 0 && name != "localhost" {
		x.add("proxies", Warning, "no TLS here and public.proxies is empty: the proxy in front stands for all peers, who then share what limits give one address", "settings key public.proxies")
	}
}

// certificate judges key, chain, names and time of one; name is that by which clients come, "" for those who are told whom to trust.
func (x *examination) certificate(check, section, chain, key, name string) *x509.Certificate {
	keys := fmt.Sprintf("settings keys %s.cert and %s.key", section, section)
	if chain == "" {
		if name != "" {
			x.add(check, Warning, "there is none: something in front must end TLS, and peers must reach "+x.origin(), keys)
		}
		return nil
	}
	pair, err := tls.LoadX509KeyPair(chain, key)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		x.add(check, Fault, err.Error(), fmt.Sprintf("ls -l %s %s; %s", chain, key, keys))
		return nil
	case err != nil && strings.Contains(err.Error(), "does not match"):
		x.add(check, Fault, fmt.Sprintf("the key in %s is not that of the certificate in %s: nothing can be served", key, chain),
			fmt.Sprintf("the same on both: openssl pkey -in %s -pubout; openssl x509 -in %s -noout -pubkey", key, chain))
		return nil
	case err != nil:
		x.add(check, Fault, fmt.Sprintf("%s and %s: %v", chain, key, err), keys)
		return nil
	}
	var all []*x509.Certificate
	between := x509.NewCertPool()
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			x.add(check, Fault, fmt.Sprintf("%s: %v", chain, err), keys)
			return nil
		}
		all = append(all, c)
		between.AddCert(c)
	}
	leaf, now, sound := all[0], x.cfg.Now(), true
	wrong := func(r Result, detail, mend string) {
		x.add(check, r, detail, mend)
		sound = false
	}
	renew := "a new certificate in " + keys + " (it is read without a restart)"
	left := leaf.NotAfter.Sub(now)
	switch {
	case left <= 0:
		wrong(Fault, fmt.Sprintf("it ended on %s: no client accepts it", day(leaf.NotAfter)), renew)
	case now.Before(leaf.NotBefore):
		wrong(Fault, fmt.Sprintf("it is not good before %s: no client accepts it, or the clock is wrong", day(leaf.NotBefore)), "timedatectl; "+renew)
	case left < soon(leaf.NotBefore, leaf.NotAfter):
		wrong(Warning, "it ends in "+span(left), renew)
	}
	if name != "" && leaf.VerifyHostname(name) != nil {
		wrong(Fault, fmt.Sprintf("it is for %s, not for %s: no client accepts it", names(leaf), name), "a certificate for "+name+" in "+keys)
	}
	at := now
	if left <= 0 || now.Before(leaf.NotBefore) {
		at = leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2) // its time was judged above
	}
	var stranger x509.UnknownAuthorityError
	_, err = leaf.Verify(x509.VerifyOptions{Roots: x.roots, Intermediates: between, CurrentTime: at})
	switch {
	case errors.As(err, &stranger) && name == "":
		x.add(check, Warning, "no authority of this system signed it: the command line must be told which one did", "sluice … --ca FILE")
	case errors.As(err, &stranger):
		wrong(Fault, "it "+unsigned(all), fmt.Sprintf("cat LEAF BETWEEN… > %s: the whole chain but its root; for an authority of your own settings key egress.roots, here and at each peer", chain))
	case err != nil:
		wrong(Fault, err.Error(), fmt.Sprintf("openssl x509 -in %s -noout -text", chain))
	}
	if sound {
		x.add(check, OK, "good until "+day(leaf.NotAfter), "")
	}
	return leaf
}
