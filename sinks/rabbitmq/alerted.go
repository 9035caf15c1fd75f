package rabbitmq

import (
	"errors"
	"net"
	"sync/atomic"
)

// alerted is an encrypted connection that remembers the broker's alert. In TLS 1.3 a
// broker refuses a client's certificate after the handshake, and the library takes the
// end of the connection for refused credentials.
type alerted struct {
	net.Conn
	alert atomic.Pointer[net.OpError]
}

// Read implements net.Conn.
func (c *alerted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if alert, is := errors.AsType[*net.OpError](err); is && alert.Op == "remote error" {
		c.alert.Store(alert)
	}
	return n, err
}

// orAlert returns the broker's alert, if there was one, else err.
func (c *alerted) orAlert(err error) error {
	if alert := c.alert.Load(); alert != nil {
		return alert
	}
	return err
}
