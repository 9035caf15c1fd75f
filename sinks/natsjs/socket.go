package natsjs

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// socket dials for the client library and keeps the connection, so that it can be cut
// at any time. While the library writes, it holds a lock that everything else needs,
// and a stalled server makes it hold that lock for ever.
type socket struct {
	ctx        context.Context
	timeout    time.Duration
	encryption *relay.Encryption

	mu      sync.Mutex
	conn    net.Conn
	err     error // of the last dial; the library hides "connection refused"
	refused error // why the connection must not be used
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
	return link.JudgeFirstByte(conn, func(encrypted bool) error { return s.judge(conn, encrypted) }), nil
}

// judge is called before anything is sent: the server speaks first, and says whether it
// wants TLS. Servers that others have made known are judged like those of the URL.
func (s *socket) judge(conn net.Conn, encrypted bool) error {
	err := s.encryption.Judge(newPeer(conn, encrypted))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
	return err
}

// newPeer is the server at the other end. The certificate of one that encrypts is always
// verified.
func newPeer(conn net.Conn, encrypted bool) relay.Peer {
	protection := relay.Plaintext
	if encrypted {
		protection = relay.Verified
	}
	return relay.NewPeer("NATS", conn, protection, "enable TLS at the server, and use tls:// in OUTBOX_SINK_URL")
}

// refusal is why the connection was refused on this side, or nil.
func (s *socket) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
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
