package config

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// What is wrong with a sink URL, in words that quote none of it.
var (
	errSinkScheme      = errors.New("expected nats://host:4222 or tls://host:4222, several hosts separated by commas")
	errSinkRabbitMQ    = errors.New("RabbitMQ is not built in yet; use nats:// or tls://")
	errSinkSyntax      = errors.New("expected host or host:port after the scheme: nats://host:4222")
	errSinkHost        = errors.New("expected a host after the scheme, and a port from 1 to 65535 if any: nats://host:4222")
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
	case scheme == "amqp", scheme == "amqps":
		return errSinkRabbitMQ
	case scheme != "nats" && scheme != "tls":
		return errSinkScheme
	}
	hosts := strings.Split(rest, ",")
	users := 0
	for _, host := range hosts {
		host = strings.TrimSpace(host)
		if own, after, found := strings.Cut(host, "://"); found {
			if own != scheme {
				return errSinkMixed
			}
			host = after
		}
		user, err := checkServer(host)
		if errors.Is(err, errSinkSyntax) && strings.Contains(rest, "@") {
			return errSinkEscape // a password with a comma has become a host of its own
		}
		if err != nil {
			return err
		}
		if user {
			users++
		}
	}
	if users != 0 && users != len(hosts) {
		return errSinkCredentials
	}
	return nil
}

// checkServer judges one host and says whether it comes with credentials. Go's
// parser splits at the last @, so a password may contain one; not so / ? and #.
func checkServer(host string) (user bool, err error) {
	u, err := url.Parse("nats://" + host)
	switch {
	case err != nil:
		return false, errSinkSyntax
	case u.User == nil && strings.Contains(host, "@"):
		return false, errSinkEscape
	case u.Hostname() == "":
		return false, errSinkHost
	case strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return false, errSinkRest
	}
	if u.Port() != "" {
		if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
			return false, errSinkHost
		}
	}
	return u.User != nil, nil
}

// hasCredentials says whether a sink URL carries a user.
func hasCredentials(text string) bool { return strings.Contains(text, "@") }
