package faultproxy_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// echo is a TCP server that sends back what it gets and remembers it.
type echo struct {
	listener net.Listener
	all      sync.WaitGroup

	mu    sync.Mutex
	got   bytes.Buffer
	conns []net.Conn
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{listener: l}
	e.all.Go(e.serve)
	t.Cleanup(func() {
		_ = l.Close()
		e.closeConns()
		e.all.Wait()
	})
	return e
}

func (e *echo) serve() {
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		e.conns = append(e.conns, conn)
		e.mu.Unlock()
		e.all.Go(func() {
			defer conn.Close()
			_, _ = io.Copy(conn, io.TeeReader(conn, e))
		})
	}
}

func (e *echo) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got.Write(b)
}

func (e *echo) received() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got.String()
}

func (e *echo) closeConns() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, conn := range e.conns {
		_ = conn.Close()
	}
}
