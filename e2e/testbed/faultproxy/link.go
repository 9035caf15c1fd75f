package faultproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// chunk is how many bytes are read, and held back, at a time.
const chunk = 64 << 10

// link is one client's connection and the proxy's own to the target.
type link struct {
	proxy  *Proxy
	client *net.TCPConn

	cut chan struct{} // closed when the link ends

	mu     sync.Mutex
	ended  bool
	server *net.TCPConn // nil until dialled
}

// run passes bytes on until both sides have ended or the link is cut.
func (l *link) run() {
	server, err := l.dial()
	if err != nil {
		l.drop() // the reset tells the client that the target is not there
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.sendRequests(server) })
	both.Go(func() { l.sendReplies(server) })
	both.Wait()
	// Not a reset: what was written last may still be on its way to its reader.
	l.end(func(conn *net.TCPConn) { _ = conn.Close() })
}

// dial connects to the target, unless the link is cut meanwhile.
func (l *link) dial() (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(l.proxy.ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.proxy.target)
	if err != nil {
		return nil, err
	}
	server := conn.(*net.TCPConn)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		reset(server)
		return nil, net.ErrClosed
	}
	l.server = server
	return server, nil
}

// sendRequests passes the client's bytes on and looks for the pattern in them.
func (l *link) sendRequests(server *net.TCPConn) {
	buf := make([]byte, chunk)
	var s scanner
	for {
		n, readErr := l.client.Read(buf)
		pass, found := n, false
		trigger := l.proxy.trigger.Load()
		if trigger != nil {
			pass, found = s.scan(buf[:n], trigger.pattern)
		} else {
			s = scanner{} // what it remembers is no longer next to what comes
		}
		if !l.proxy.requests.pass(l.cut) || !l.forward(server, buf[:pass], readErr) {
			return
		}
		if found {
			trigger.do(l)
			return
		}
	}
}

// sendReplies passes the server's bytes on and counts those that it holds back.
func (l *link) sendReplies(server *net.TCPConn) {
	buf := make([]byte, chunk)
	for {
		n, readErr := server.Read(buf)
		var held int64
		if l.proxy.replies.shut() != nil {
			held = int64(n)
		}
		l.proxy.held.Add(held)
		passed := l.proxy.replies.pass(l.cut)
		l.proxy.held.Add(-held)
		if !passed || !l.forward(l.client, buf[:n], readErr) {
			return
		}
	}
}

// forward writes to one side what was read from the other, and then the end of
// it, if it ended. It tells whether there is more to come.
func (l *link) forward(dst *net.TCPConn, b []byte, readErr error) bool {
	if len(b) > 0 {
		if _, err := dst.Write(b); err != nil {
			l.drop()
			return false
		}
	}
	switch {
	case readErr == nil:
		return true
	case errors.Is(readErr, io.EOF):
		_ = dst.CloseWrite() // an error means that dst is gone, which its own reader sees
	default:
		l.drop() // a reset on one side is a reset on the other
	}
	return false
}

// swallow reads what the client sends and passes nothing on, until the link ends.
func (l *link) swallow() {
	_, _ = io.Copy(io.Discard, l.client) // it ends as the client does
	l.drop()
}

// drop resets both connections; what the proxy holds is lost. On a link that
// has ended it does nothing.
func (l *link) drop() { l.end(reset) }

func (l *link) end(with func(*net.TCPConn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	close(l.cut)
	with(l.client)
	if l.server != nil {
		with(l.server)
	}
}

// reset closes a connection so that its other end gets an error, not an orderly
// end, and nothing that the kernel still held.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // fails on a connection that is gone already
	_ = conn.Close()
}
