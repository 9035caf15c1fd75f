package rabbitmq

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// address is one configured node.
type address struct {
	host     string // host:port
	name     string // as in a certificate
	tls      bool
	user     string
	password string
	named    bool // a user was given
	vhost    string
}

type addresses []address

func parseAddresses(list string) (addresses, error) {
	servers, err := link.ParseServers(list, link.Scheme{Name: "amqp", Port: "5672"}, link.Scheme{Name: "amqps", Port: "5671"})
	if err != nil {
		return nil, err
	}
	as := make(addresses, len(servers))
	for i, u := range servers {
		if as[i], err = newAddress(u); err != nil {
			return nil, fmt.Errorf("server %d of the list: %w", i+1, err)
		}
	}
	return as, nil
}

func newAddress(u *url.URL) (address, error) {
	a := address{host: u.Host, name: u.Hostname(), tls: u.Scheme == "amqps", user: "guest", password: "guest", vhost: "/"}
	if u.User != nil {
		a.named = true
		a.user = u.User.Username()
		a.password, _ = u.User.Password()
	}
	// The path without its slash, decoded: %2F is the virtual host /.
	if path := strings.TrimPrefix(u.Path, "/"); path != "" {
		a.vhost = path
	}
	if len(a.vhost) > maxShortString {
		return a, fmt.Errorf("virtual host has %d bytes, the protocol takes %d", len(a.vhost), maxShortString)
	}
	return a, nil
}

// peer is the node at the other end. The certificate of one that encrypts is always
// verified.
func (a address) peer(conn net.Conn) relay.Peer {
	protection := relay.Plaintext
	if a.tls {
		protection = relay.Verified
	}
	return relay.NewPeer("RabbitMQ", conn, protection, "enable TLS at the broker, and use amqps:// in OUTBOX_SINK_URL")
}

// String names the nodes without credentials.
func (as addresses) String() string {
	hosts := make([]string, len(as))
	for i, a := range as {
		hosts[i] = a.host
	}
	return strings.Join(hosts, ", ")
}
