package postgres

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// linkTimeout is after how long without an answer of the other side's kernel a
// connection is given up, on both sides.
const linkTimeout = 15 * time.Second

// dialer opens the connections of one session, one of them for queries and the
// others for the driver's cancel requests. It ends them all at once: the driver
// otherwise keeps one that does not answer for 15 seconds in the background.
type dialer struct {
	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	mu    sync.Mutex
	conns []net.Conn
}

func newDialer() *dialer {
	ctx, cancel := context.WithCancel(context.Background())
	return &dialer{ctx: ctx, cancel: cancel}
}

// dial connects so that a peer which has gone silently is noticed.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	nd := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: linkTimeout / 3, Interval: linkTimeout / 3, Count: 3},
		Control: func(network, _ string, raw syscall.RawConn) error {
			if network == "unix" {
				return nil
			}
			return setUserTimeout(raw, linkTimeout)
		},
	}
	conn, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ctx.Err(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	d.conns = append(d.conns, conn)
	return conn, nil
}

// close ends every connection, also those being dialed.
func (d *dialer) close() {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.conns {
		_ = conn.Close() // a second close of most of them
	}
	d.conns = nil
}
