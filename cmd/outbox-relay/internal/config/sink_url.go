package config

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// What is wrong with a sink URL, in words that quote none of it.
var (
	errSinkScheme      = errors.New("expected nats://host:4222, tls://host:4222, amqp://host:5672 or amqps://host:5671, several hosts separated by commas")
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
	scheme, rest, found := strings.Cut(text, "://")
	switch {
	case !found:
		return errSinkScheme
	case !isRabbitMQ(scheme) && scheme != "nats" && scheme != "tls":
		return errSinkScheme
	}
	hosts := strings.Split(rest, ",")
	users := 0
	vhosts := make(map[string]bool)
	for _, host := range hosts {
		host = strings.TrimSpace(host)
		if own, after, found := strings.Cut(host, "://"); found {
			if own != scheme {
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
	if isRabbitMQ(scheme) && len(vhosts) > 1 {
		return errSinkVhosts
	}
	return nil
}

func isRabbitMQ(scheme string) bool { return scheme == "amqp" || scheme == "amqps" }

// checkPath judges what follows the host: nothing, or RabbitMQ's virtual host.
func checkPath(scheme string, u *url.URL) error {
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	rest := u.RawQuery != "" || u.Fragment != ""
	switch {
	case isRabbitMQ(scheme) && (rest || strings.Contains(path, "/")):
		return errSinkVhost
	case !isRabbitMQ(scheme) && (rest || strings.Trim(path, "/") != ""):
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

// RabbitMQ says whether the scheme of the sink URL chooses RabbitMQ.
func (c Config) RabbitMQ() bool {
	scheme, _, _ := strings.Cut(c.SinkURL.Reveal(), "://")
	return isRabbitMQ(scheme)
}
