package jetstream

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// addresses are the configured servers, parsed.
type addresses []*url.URL

var errNoAddress = errors.New("no server given: want nats://host:port, several separated by commas")

// parseAddresses reads a comma separated list. Its errors show no credentials:
// neither url.Parse's own, which quotes the whole URL, nor the URL itself.
func parseAddresses(list string) (addresses, error) {
	var as addresses
	for i, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("server %d of the list is not a URL: %s", i+1, reason(err))
		}
		switch {
		case u.Scheme != "nats" && u.Scheme != "tls":
			return nil, fmt.Errorf("server %s: scheme is %q, want nats or tls", u.Redacted(), u.Scheme)
		case u.Hostname() == "":
			return nil, fmt.Errorf("server %d of the list has no host name: want %s://host:port", i+1, u.Scheme)
		case u.Port() == "":
			u.Host = strings.TrimSuffix(u.Host, ":") + ":4222"
		}
		as = append(as, u)
	}
	if len(as) == 0 {
		return nil, errNoAddress
	}
	return as, nil
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

// urls are the servers to try: the configured ones and those they made known,
// which get the credentials of the first configured one.
func (as addresses) urls(discovered []string) []string {
	known := make(map[string]bool)
	var all []string
	for _, u := range as {
		known[u.Host] = true
		all = append(all, u.String())
	}
	for _, text := range discovered {
		u, err := url.Parse(text)
		if err != nil || known[u.Host] {
			continue
		}
		known[u.Host] = true
		u.User = as[0].User
		all = append(all, u.String())
	}
	return all
}

// String names the servers without credentials.
func (as addresses) String() string {
	hosts := make([]string, len(as))
	for i, u := range as {
		hosts[i] = u.Host
	}
	return strings.Join(hosts, ", ")
}
