package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"github.com/sluice-connector/sluice/connector/identity"
)

// ports looks at both addresses that a connector listens on: it answers there, or nobody does and it could.
func (x *examination) ports(ctx context.Context) {
	x.serving = x.port(ctx, "address for peers", "public.listen", x.set.Public.Listen, x.peersComeIn)
	x.port(ctx, "management address", "management.listen", x.set.Management.Listen, func(ctx context.Context, to *http.Transport) bool {
		_, port, _ := net.SplitHostPort(x.set.Public.Listen)
		return (x.serving || port == "0") && x.managed(ctx, to) // that of a connector that is not this one looks the same
	})
}

// port reports whether this connector listens at the address. is tells it from other programs.
func (x *examination) port(ctx context.Context, check, key, address string, is func(context.Context, *http.Transport) bool) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		x.add(check, OK, address+": a port that is free, another one at each start", "")
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := x.cfg.Dial(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
		// Who answers is told by what it says, which is no secret and neither is what it is asked. Its certificate has checks of its own.
		to := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return x.cfg.Dial(ctx, "tcp", address) },
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
		if is(ctx, to) {
			x.add(check, OK, address+": this connector listens", "")
			return true
		}
		x.add(check, Fault, address+": another program listens there, so the connector cannot", which(port, key))
		return false
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		err = l.Close()
	}
	if err == nil {
		x.add(check, OK, address+": free", "")
		return false
	}
	detail, mend := unavailable(address, port, key, err)
	x.add(check, Fault, detail, mend)
	return false
}

// which is the command that tells who has a port.
func which(port, key string) string {
	return fmt.Sprintf("sudo ss -ltnp 'sport = :%s' tells which: end it, or change settings key %s", port, key)
}

// unavailable says why the system does not let this process listen.
func unavailable(address, port, key string, err error) (detail, mend string) {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return address + ": taken by another program, which does not answer", which(port, key)
	case errors.Is(err, syscall.EACCES):
		return address + ": this user may not listen there", "sudo setcap cap_net_bind_service=+ep \"$(command -v sluice)\", or another port in settings key " + key
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return address + ": no address of this machine", "ip -brief address lists those that are; settings key " + key
	}
	return fmt.Sprintf("%s: %v", address, err), "settings key " + key
}

func scheme(cert string) string {
	if cert == "" {
		return "http"
	}
	return "https"
}

// peersComeIn reports whether what answers is a connector that hosts what is hosted here. Where nothing is, nothing tells it from others.
func (x *examination) peersComeIn(ctx context.Context, to *http.Transport) bool {
	locals := x.locals()
	if len(locals) == 0 {
		return true
	}
	res, body, err := x.get(ctx, to, scheme(x.set.Public.Cert)+"://"+x.set.Public.Host+"/"+locals[0].Slug+"/did.json", "", nil)
	if err != nil || res.StatusCode != http.StatusOK {
		return false
	}
	_, err = identity.ParseDocument(locals[0].DID, body)
	return err == nil
}

// managed reports whether what answers is a management API: by the beginning of its description, which it shows to everybody.
func (x *examination) managed(ctx context.Context, to *http.Transport) bool {
	_, port, _ := net.SplitHostPort(x.set.Management.Listen)
	_, body, _ := x.get(ctx, to, scheme(x.set.Management.Cert)+"://"+x.set.Management.Listen+"/v1/openapi.json", "localhost:"+port, nil)
	return bytes.Contains(body, []byte(`"title": "Sluice management API"`))
}
