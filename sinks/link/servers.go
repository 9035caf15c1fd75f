package link

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Scheme is a scheme that the URL of a server may have.
type Scheme struct {
	Name string
	Port string // if the URL has none
}

// Servers are those that were configured, each with host name and port.
type Servers []*url.URL

// ParseServers reads a list of URLs that are separated by commas. An element without a
// scheme gets the scheme of the element before it; the first element gets the first of
// schemes. Errors show no credentials: they quote neither the URL nor the error of
// url.Parse, which contains the whole URL.
func ParseServers(list string, schemes ...Scheme) (Servers, error) {
	var servers Servers
	scheme := schemes[0].Name
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
		if err := complete(u, schemes); err != nil {
			return nil, fmt.Errorf("server %d of the list: %w", i+1, err)
		}
		scheme = u.Scheme
		servers = append(servers, u)
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("no server given: want %s://host:port, several separated by commas", schemes[0].Name)
	}
	return servers, nil
}

// complete checks a URL, and adds the port of its scheme if it has none.
func complete(u *url.URL, schemes []Scheme) error {
	var names []string
	for _, s := range schemes {
		if s.Name != u.Scheme {
			names = append(names, s.Name)
			continue
		}
		if u.Hostname() == "" {
			return fmt.Errorf("no host name: want %s://host:port", u.Scheme)
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), s.Port)
		}
		return nil
	}
	return fmt.Errorf("scheme is %q, want %s", u.Scheme, strings.Join(names, " or "))
}

// reason returns the part of a parse error that quotes nothing, because a quote may be
// a piece of a password ("invalid port").
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

// String names the servers without credentials.
func (s Servers) String() string {
	hosts := make([]string, len(s))
	for i, u := range s {
		hosts[i] = u.Host
	}
	return strings.Join(hosts, ", ")
}
