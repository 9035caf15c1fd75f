package natsjs

import (
	"net/url"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// addresses are the configured servers.
type addresses struct{ link.Servers }

func parseAddresses(list string) (addresses, error) {
	servers, err := link.ParseServers(list, link.Scheme{Name: "nats", Port: "4222"}, link.Scheme{Name: "tls", Port: "4222"})
	return addresses{servers}, err
}

// urls are the servers to try: the configured ones, and those that they made known.
// The latter get the credentials of the first configured one.
func (as addresses) urls(discovered []string) []string {
	known := make(map[string]bool)
	var all []string
	for _, u := range as.Servers {
		known[u.Host] = true
		all = append(all, u.String())
	}
	for _, text := range discovered {
		u, err := url.Parse(text)
		if err != nil || known[u.Host] {
			continue
		}
		known[u.Host] = true
		u.User = as.Servers[0].User
		all = append(all, u.String())
	}
	return all
}
