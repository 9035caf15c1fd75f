package rabbitmq

import (
	"errors"
	"net"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// hearing is the TLS connection below the client library during the handshake of AMQP. It
// keeps why reading has failed. A server that refuses the client's certificate says so when
// TLS is done on this side. The library closes the connection as soon as it has read that,
// and if its first write comes later, the library reports only that the connection is closed.
type hearing struct {
	net.Conn

	mu  sync.Mutex
	err error // why reading has failed first
}

// Read implements net.Conn.
func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.err == nil {
			h.err = err
		}
	}
	return n, err
}

// orCause returns why the connection was closed if err says only that it was. Otherwise it
// returns err.
func (h *hearing) orCause(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil && (errors.Is(err, net.ErrClosed) || errors.Is(err, amqp.ErrClosed)) {
		return h.err
	}
	return err
}
