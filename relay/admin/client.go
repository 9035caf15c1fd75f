package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Client asks a relay. It goes through no proxy: the address is the relay's own.
type Client struct {
	address string
	token   string
	http    *http.Client
}

// ErrNotOK is wrapped by what [Client.Live] and [Client.Ready] return where the
// relay answered, and says that something is wrong. The error's text is the relay's.
var ErrNotOK = errors.New("not ok")

// maxAnswer bounds an answer, in bytes; a relay's is shorter.
const maxAnswer = 1 << 20

// NewClient makes a client of the relay that listens at an address of this host,
// written as for [Listen]: without a host it is the local one.
func NewClient(address string) (*Client, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("read the address %s: %w", address, err)
	}
	if port == "0" {
		return nil, fmt.Errorf("the address %s has port 0, which stands for any free port", address)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
		DisableKeepAlives:     true, // one question, and then the process ends
		ResponseHeaderTimeout: writeTimeout,
	}
	return &Client{address: address, http: &http.Client{Transport: transport}}, nil
}

// WithToken has the client give the token where it asks for the status, for a relay that
// listens beyond the loopback address: without it that tells no reasons.
func (c *Client) WithToken(token string) *Client {
	c.token = token
	return c
}

// Live asks /livez, and returns what it said or an error.
func (c *Client) Live(ctx context.Context) (string, error) { return c.probe(ctx, pathLive) }

// Ready asks /readyz, and returns what it said or an error.
func (c *Client) Ready(ctx context.Context) (string, error) { return c.probe(ctx, pathReady) }

// Status asks /status.
func (c *Client) Status(ctx context.Context) (Report, error) {
	var r Report
	code, text, err := c.get(ctx, pathStatus)
	if err != nil {
		return r, err
	}
	if code == http.StatusUnauthorized {
		return r, fmt.Errorf("ask %s%s: %s", c.address, pathStatus, oneLine(string(text)))
	}
	if code != http.StatusOK {
		return r, fmt.Errorf("ask %s%s: status %d: does something else listen there?", c.address, pathStatus, code)
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Mode == "" {
		return r, fmt.Errorf("ask %s%s: the answer is not a relay's: does something else listen there?", c.address, pathStatus)
	}
	return r, nil
}

func (c *Client) probe(ctx context.Context, path string) (string, error) {
	code, text, err := c.get(ctx, path)
	if err != nil {
		return "", err
	}
	line := oneLine(string(text))
	switch code {
	case http.StatusOK:
		return line, nil
	case http.StatusServiceUnavailable:
		return "", fmt.Errorf("%w: %s", ErrNotOK, line)
	}
	return "", fmt.Errorf("ask %s%s: status %d: does something else listen there?", c.address, path, code)
}

func (c *Client) get(ctx context.Context, path string) (code int, text []byte, err error) {
	// The relay answers to few names; this is one of them wherever it listens.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s%s: %w", c.address, path, err)
	}
	if c.token != "" && path == pathStatus {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s%s: %w", c.address, path, plain(err))
	}
	defer response.Body.Close()
	text, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s%s: %w", c.address, path, err)
	}
	return response.StatusCode, text, nil
}

// plain drops what the HTTP library adds: the method, and a URL that the user has not
// written.
func plain(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// Timeout is enough for a relay on the same host.
const Timeout = 5 * time.Second
