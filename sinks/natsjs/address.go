package natsjs

import (
	"math/rand/v2"
	"net"
	"net/url"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// addresses are the configured servers.
type addresses struct{ link.Servers }

func parseAddresses(list string) (addresses, error) {
	servers, err := link.ParseServers(list, link.Scheme{Name: "nats", Port: "4222"}, link.Scheme{Name: "tls", Port: "4222"})
	return addresses{servers}, err
}

// server is one to connect to.
type server struct {
	url string // with credentials
	// name is the server's name in its certificate; empty: the host of the URL.
	name string
}

// discovered has the servers that other servers told the relay about: by URL, the name
// in the server's certificate. Servers mostly tell IP addresses, and certificates
// mostly have host names. So the certificate of such a server is expected to have the
// name of the server that told of it, as the client library does it.
type discovered map[string]string

// next returns the servers that are known after a connection: those that its server
// told of, and that server itself, which does not tell of itself. Others are forgotten,
// because they may be gone, and each try of a server that is gone takes seconds.
func (d discovered) next(current server, told []string) discovered {
	u, err := url.Parse(current.url)
	if err != nil || len(told) == 0 {
		return d
	}
	name := current.name
	if name == "" {
		name = u.Hostname()
	}
	u.User = nil
	known := make(discovered)
	for _, text := range append(told, u.String()) {
		if before := d[text]; before != "" {
			known[text] = before
			continue
		}
		known.add(text, name)
	}
	return known
}

// add notes that a server with that name told of the server at this URL.
func (d discovered) add(text, name string) {
	u, err := url.Parse(text)
	if err != nil || d[text] != "" {
		return
	}
	if net.ParseIP(u.Hostname()) == nil || net.ParseIP(name) != nil {
		name = "" // it has a host name of its own, or the server that told of it has none
	}
	d[text] = name
}

// servers returns the servers to try: the configured ones, and the discovered ones with
// the credentials of the first configured one.
func (as addresses) servers(made discovered) []server {
	known := make(map[string]bool)
	var all []server
	for _, u := range as.Servers {
		known[u.Host] = true
		all = append(all, server{url: u.String()})
	}
	for text, name := range made {
		u, err := url.Parse(text)
		if err != nil || known[u.Host] {
			continue
		}
		known[u.Host] = true
		u.User = as.Servers[0].User
		all = append(all, server{u.String(), name})
	}
	return all
}

// shuffled returns the servers in another order, so that many relays spread over them.
func shuffled(servers []server) []server {
	rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	return servers
}
