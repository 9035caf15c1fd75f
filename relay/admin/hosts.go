package admin

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Hosts are names of the relay, separated by commas; one that begins with *. stands for
// all names below the rest. The empty value is none.
type Hosts string

// UnmarshalText reads names. Spaces around them do not count.
func (h *Hosts) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*h = ""
		return nil
	}
	var names []string
	for name := range strings.SplitSeq(string(text), ",") {
		name = plainName(strings.TrimSpace(name))
		below := strings.TrimPrefix(name, "*.")
		if below == "" || strings.ContainsAny(below, "*/:[]@ \t\r\n") {
			return fmt.Errorf("%q is no name of a host: expected names separated by commas, without a port, such as relay.example.com,*.shop.example", name)
		}
		names = append(names, name)
	}
	*h = Hosts(strings.Join(names, ","))
	return nil
}

// allowedHosts tells whether a request means this relay. A page of another site can have
// a name of its own resolve to the relay's address (DNS rebinding). For the browser the
// page is then of the relay's site, and may read what the relay serves. So only names
// that nobody else can own are answered, and addresses, which cannot be rebound.
type allowedHosts struct {
	names []string
	// network: the relay listens beyond the loopback address, where containers and pods
	// ask by names that nobody can register.
	network bool
}

func newAllowedHosts(address, listening, hostname string, more Hosts) allowedHosts {
	a := allowedHosts{names: []string{"localhost", "*.localhost"}}
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		a.names = append(a.names, plainName(host))
	}
	if hostname != "" {
		a.names = append(a.names, plainName(hostname))
	}
	if more != "" {
		a.names = append(a.names, strings.Split(string(more), ",")...)
	}
	if at, err := netip.ParseAddrPort(listening); err == nil {
		a.network = !at.Addr().Unmap().IsLoopback()
	}
	return a
}

// allow judges the Host header. One that is missing comes from no browser.
func (a allowedHosts) allow(header string) bool {
	name := hostOf(header)
	if _, err := netip.ParseAddr(name); err == nil || header == "" {
		return true
	}
	for _, known := range a.names {
		if name == known || strings.HasPrefix(known, "*.") && strings.HasSuffix(name, known[1:]) {
			return true
		}
	}
	return a.network && isInternal(name)
}

// isInternal tells whether nobody can register the name: it has no dot, as those of
// Compose services and pods, or ends as in a cluster.
func isInternal(name string) bool {
	if name != "" && !strings.Contains(name, ".") {
		return true
	}
	for _, end := range []string{".svc", ".cluster.local", ".internal"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// hostOf is the name or the address in a Host header, without port and brackets.
func hostOf(header string) string {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	return plainName(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
}

func plainName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// isLoopback tells whether a Host header names the relay's own host.
func isLoopback(header string) bool {
	name := hostOf(header)
	if address, err := netip.ParseAddr(name); err == nil {
		return address.Unmap().IsLoopback()
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
