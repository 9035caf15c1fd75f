package admin

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// maxConnections is far more than probes, a Prometheus and some pages need. Without a
// bound, peers that open connections and say nothing would take the file descriptors
// that the relay needs for the database and the broker.
const maxConnections = 200

// connections closes the one that has been in its state for longest where there are too
// many: slow peers push each other out, and probes, which are quick, come through.
type connections struct {
	mu    sync.Mutex
	since map[net.Conn]time.Time
}

// changed is an [http.Server]'s ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if victim := c.note(conn, state); victim != nil {
		_ = victim.Close() // its handler and the server notice
	}
}

func (c *connections) note(conn net.Conn, state http.ConnState) (victim net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(c.since, conn)
		return nil
	}
	if c.since == nil {
		c.since = make(map[net.Conn]time.Time)
	}
	c.since[conn] = time.Now()
	if len(c.since) <= maxConnections {
		return nil
	}
	for other, since := range c.since {
		if other != conn && (victim == nil || since.Before(c.since[victim])) {
			victim = other
		}
	}
	delete(c.since, victim)
	return victim
}
