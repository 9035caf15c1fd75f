package rabbitmq

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
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

var errNoAddress = errors.New("no server given: want amqp://host:port, several separated by commas")

// parseAddresses reads a comma separated list, whose later elements may leave
// the scheme out. Its errors show no credentials: neither url.Parse's own, which
// quotes the whole URL, nor the URL itself.
func parseAddresses(list string) (addresses, error) {
	var as addresses
	scheme := "amqp"
	for i, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = scheme + "://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("server %d of the list is not a URL: %s", i+1, reason(err))
		}
		a, err := newAddress(u)
		if err != nil {
			return nil, fmt.Errorf("server %d of the list: %w", i+1, err)
		}
		scheme = u.Scheme
		as = append(as, a)
	}
	if len(as) == 0 {
		return nil, errNoAddress
	}
	return as, nil
}

func newAddress(u *url.URL) (address, error) {
	a := address{name: u.Hostname(), tls: u.Scheme == "amqps", user: "guest", password: "guest", vhost: "/"}
	port := u.Port()
	switch {
	case u.Scheme != "amqp" && u.Scheme != "amqps":
		return a, fmt.Errorf("scheme is %q, want amqp or amqps", u.Scheme)
	case a.name == "":
		return a, fmt.Errorf("no host name: want %s://host:port", u.Scheme)
	case port == "" && a.tls:
		port = "5671"
	case port == "":
		port = "5672"
	}
	a.host = net.JoinHostPort(a.name, port)
	if u.User != nil {
		a.named = true
		a.user = u.User.Username()
		a.password, _ = u.User.Password()
	}
	// The path less its slash, decoded: %2F is the virtual host /.
	if path := strings.TrimPrefix(u.Path, "/"); path != "" {
		a.vhost = path
	}
	if len(a.vhost) > maxShortString {
		return a, fmt.Errorf("virtual host has %d bytes, the protocol takes %d", len(a.vhost), maxShortString)
	}
	return a, nil
}

// reason is the part of a parse error that does not quote the URL. Even that
// may quote a piece of a password ("invalid port"), so nothing quoted is kept.
func reason(err error) string {
	if parse, ok := errors.AsType[*url.Error](err); ok {
		err = parse.Err
	}
	text, _, quoted := strings.Cut(err.Error(), `"`)
	if quoted {
		text = strings.TrimSpace(text) + " (percent-encode special characters of user and password)"
	}
	return text
}

// String names the nodes without credentials.
func (as addresses) String() string {
	hosts := make([]string, len(as))
	for i, a := range as {
		hosts[i] = a.host
	}
	return strings.Join(hosts, ", ")
}
