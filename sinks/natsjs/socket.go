package natsjs

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// socket dials for the client library and keeps the connection, so that it can be cut
// at any time. While the library writes, it holds a lock that everything else needs,
// and a stalled server makes it hold that lock for ever.
type socket struct {
	ctx     context.Context
	timeout time.Duration

	mu   sync.Mutex
	conn net.Conn
	err  error // of the last dial; the library hides "connection refused"
}

// Dial implements nats.CustomDialer. The library tries one address after the
// other.
func (s *socket) Dial(network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: s.timeout, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(s.ctx, network, address)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	s.conn, s.err = conn, nil
	return conn, nil
}

// cut ends the connection at once. Whatever is written or read fails.
func (s *socket) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close() // the library closes it too
	}
}

// dialError is why the last dial failed, or nil.
func (s *socket) dialError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
