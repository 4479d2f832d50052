package rpc

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// astray refuses browsers that were lured to the API (security rule T-02), and reports whether it did: a page whose name was rebound to this
// address still asks for its own name, and a page of another site says that it is one. Answered are the address itself, this machine's names
// for itself with the port that is listened on, and the names that the operator listed.
func (s *Server) astray(w http.ResponseWriter, r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	host := r.Host
	if _, _, err := net.SplitHostPort(host); err != nil { // no port: that of the scheme
		host = net.JoinHostPort(strings.Trim(host, "[]"), map[bool]string{true: "443", false: "80"}[r.TLS != nil])
	}
	if !answersTo(host, local, s.cfg.Hosts) {
		problem.Status(w, r, http.StatusMisdirectedRequest, "the management API does not answer to this name; management.hosts lists those that it does")
		return true
	}
	if !slices.Contains([]string{"", "same-origin", "none"}, r.Header.Get("Sec-Fetch-Site")) {
		problem.Write(w, r, fault.New("rpc.astray", fault.Forbidden, "pages of other sites may not call the management API"))
		return true
	}
	return false
}

// answersTo reports whether host, as a request names it, is one of ours. A loopback name on another port is another program's.
func answersTo(host string, local net.Addr, listed []string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	name = strings.ToLower(name)
	if name != "" && slices.Contains(listed, name) {
		return true
	}
	if local == nil {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return false
	}
	if at, err := netip.ParseAddrPort(net.JoinHostPort(name, port)); err == nil {
		return at.Port() == own.Port() && (at.Addr().Unmap() == own.Addr().Unmap() || at.Addr().Unmap().IsLoopback())
	}
	_, ownPort, _ := net.SplitHostPort(own.String())
	return name == "localhost" && port == ownPort
}
