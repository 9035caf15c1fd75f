package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// dialTimeout bounds the connection to the target; it is on the same machine.
const dialTimeout = 10 * time.Second

// Proxy listens on a loopback port and passes connections to a target.
type Proxy struct {
	target   string
	listener net.Listener
	ctx      context.Context // ends with Close; for dials alone
	cancel   context.CancelFunc
	all      sync.WaitGroup

	requests gate // client to server
	replies  gate // server to client
	trigger  atomic.Pointer[trigger]
	held     atomic.Int64
	accepted atomic.Int64

	switches
}

// switches are what the proxy was told to do, and its connections.
type switches struct {
	mu      sync.Mutex
	refuse  bool
	closed  bool
	links   map[*link]struct{}
	stall   bool // what Stall was told last
	muffled bool // what StallReplies was told last
}

// Start listens on a free loopback port and passes every connection to target,
// host:port, which need not be up. ctx means nothing afterwards. The caller
// closes the proxy.
func Start(ctx context.Context, target string) (*Proxy, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for fault proxy: %w", err)
	}
	p := &Proxy{target: target, listener: l, switches: switches{links: map[*link]struct{}{}}}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.all.Go(p.accept)
	return p, nil
}

// Addr is the address to connect to, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Accepted is how many connections clients have opened so far, refused ones
// included.
func (p *Proxy) Accepted() int64 { return p.accepted.Load() }

// HeldReplies is how many bytes of the server the proxy has read and holds back
// at this moment: more than 0 means that an answer is there which the client
// has not seen.
func (p *Proxy) HeldReplies() int64 { return p.held.Load() }

// Close cuts all connections and stops listening. Idempotent.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.cutLocked()
	p.mu.Unlock()
	p.cancel()
	err := p.listener.Close()
	p.all.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close fault proxy: %w", err)
	}
	return nil
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client was gone before it was accepted
		}
		p.accepted.Add(1)
		p.admit(conn.(*net.TCPConn))
	}
}

// admit starts the passing on of one connection, or refuses it.
func (p *Proxy) admit(client *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuse {
		reset(client)
		return
	}
	l := &link{proxy: p, client: client, cut: make(chan struct{})}
	p.links[l] = struct{}{}
	p.all.Go(func() {
		l.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	})
}
