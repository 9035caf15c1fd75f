package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Broker is what a relay publishes to.
type Broker uint8

// The brokers.
const (
	NATS Broker = iota
	RabbitMQ
)

var brokerNames = [...]string{"NATS", "RabbitMQ"}

// String returns the broker's name as its makers write it.
func (b Broker) String() string {
	if int(b) >= len(brokerNames) {
		return fmt.Sprintf("broker(%d)", uint8(b))
	}
	return brokerNames[b]
}

// SinkScheme is one that OUTBOX_SINK_URL may have.
type SinkScheme struct {
	Name    string
	Broker  Broker
	example string
	port    int  // where the URL names none
	vhost   bool // a virtual host may follow host and port
}

var sinkSchemes = [...]SinkScheme{
	{Name: "nats", Broker: NATS, example: "nats://host:4222", port: 4222},
	{Name: "tls", Broker: NATS, example: "tls://host:4222", port: 4222},
	{Name: "amqp", Broker: RabbitMQ, example: "amqp://host:5672", port: 5672, vhost: true},
	{Name: "amqps", Broker: RabbitMQ, example: "amqps://host:5671", port: 5671, vhost: true},
}

// SinkSchemes returns all schemes that OUTBOX_SINK_URL may have.
func SinkSchemes() []SinkScheme { return sinkSchemes[:] }

// findScheme returns the scheme before :// in a sink URL, and what follows it.
func findScheme(text string) (s SinkScheme, rest string, known bool) {
	name, rest, found := strings.Cut(text, "://")
	i := slices.IndexFunc(sinkSchemes[:], func(s SinkScheme) bool { return s.Name == name })
	if !found || i < 0 {
		return SinkScheme{}, "", false
	}
	return sinkSchemes[i], rest, true
}

func errScheme() error {
	var examples []string
	for _, s := range sinkSchemes {
		examples = append(examples, s.example)
	}
	last := len(examples) - 1
	return fmt.Errorf("expected %s or %s, several hosts separated by commas", strings.Join(examples[:last], ", "), examples[last])
}

// What is wrong with a sink URL, in words that quote none of it.
var (
	errSinkScheme      = errScheme()
	errSinkSyntax      = errors.New("expected host or host:port after the scheme, such as nats://host:4222")
	errSinkHost        = errors.New("expected a host after the scheme, and a port from 1 to 65535 if any, such as nats://host:4222")
	errSinkVhost       = errors.New("expected at most a virtual host after host and port, its own slashes as %2F: amqp://host:5672/vhost; options have variables of their own")
	errSinkVhosts      = errors.New("expected the same virtual host behind every host: amqp://a/vhost,b/vhost")
	errSinkEscape      = errors.New("a special character has to be percent-encoded in the user name and password: @ is %40, / is %2F, : is %3A, comma is %2C, % is %25")
	errSinkRest        = errors.New("expected nothing after host and port: options have variables of their own")
	errSinkMixed       = errors.New("expected the same scheme for all hosts: the client encrypts either all connections or none")
	errSinkCredentials = errors.New("expected the user name and password at every host or at none: the client sends only those of the host it reaches")
)

// checkSinkURL says whether url names servers of a sink that is built in, and
// why not. One scheme is enough for a list: nats://a,b.
func checkSinkURL(text string) error {
	scheme, rest, known := findScheme(text)
	if !known {
		return errSinkScheme
	}
	hosts := strings.Split(rest, ",")
	users := 0
	vhosts := make(map[string]bool)
	for _, host := range hosts {
		host = strings.TrimSpace(host)
		if own, after, found := strings.Cut(host, "://"); found {
			if own != scheme.Name {
				return errSinkMixed
			}
			host = after
		}
		u, err := parseServer(host)
		if errors.Is(err, errSinkSyntax) && strings.Contains(rest, "@") {
			return errSinkEscape // a password with a comma has become a host of its own
		}
		if err == nil {
			err = checkPath(scheme, u)
		}
		if err != nil {
			return err
		}
		vhosts[strings.TrimPrefix(u.EscapedPath(), "/")] = true
		if u.User != nil {
			users++
		}
	}
	if users != 0 && users != len(hosts) {
		return errSinkCredentials
	}
	if scheme.vhost && len(vhosts) > 1 {
		return errSinkVhosts
	}
	return nil
}

// checkPath judges what follows host and port: nothing, or a virtual host.
func checkPath(scheme SinkScheme, u *url.URL) error {
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	rest := u.RawQuery != "" || u.Fragment != ""
	switch {
	case scheme.vhost && (rest || strings.Contains(path, "/")):
		return errSinkVhost
	case !scheme.vhost && (rest || strings.Trim(path, "/") != ""):
		return errSinkRest
	}
	return nil
}

// parseServer judges one host. Go's parser splits at the last @, so a password
// may contain one; not so / ? and #.
func parseServer(host string) (*url.URL, error) {
	u, err := url.Parse("nats://" + host)
	switch {
	case err != nil:
		return nil, errSinkSyntax
	case u.User == nil && strings.Contains(host, "@"):
		return nil, errSinkEscape
	case u.Hostname() == "":
		return nil, errSinkHost
	}
	if u.Port() != "" {
		if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
			return nil, errSinkHost
		}
	}
	return u, nil
}

// hasCredentials says whether a sink URL carries a user.
func hasCredentials(text string) bool { return strings.Contains(text, "@") }

// Broker is the one that the scheme of the sink URL names. [Load] has let only
// known schemes through.
func (c Config) Broker() Broker {
	scheme, _, _ := findScheme(c.SinkURL.Reveal())
	return scheme.Broker
}

// SinkServer is the first server that the sink URL names, and its port.
func (c Config) SinkServer() (host string, port int) {
	scheme, rest, _ := findScheme(c.SinkURL.Reveal())
	first, _, _ := strings.Cut(rest, ",")
	u, err := parseServer(strings.TrimSpace(first))
	if err != nil { // not after [Load]
		return "", 0
	}
	if port, err = strconv.Atoi(u.Port()); err != nil {
		port = scheme.port
	}
	return u.Hostname(), port
}
