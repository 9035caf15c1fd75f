package wiretap

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// Tap passes connections on to a server of the loopback interface.
type Tap struct {
	listener net.Listener
	target   string
	passing  sync.WaitGroup

	mu    sync.Mutex
	heard bytes.Buffer
	conns []net.Conn
}

// Start listens at an address that is not a loopback one, and passes connections on to
// target. It ends with the test, which is skipped on a machine without such an address.
func Start(t testing.TB, target string) *Tap {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", net.JoinHostPort(Address(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	tap := &Tap{listener: l, target: target}
	tap.passing.Go(tap.accept)
	t.Cleanup(tap.close)
	return tap
}

// Address is one of this machine that is not a loopback one.
func Address(t testing.TB) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, is := a.(*net.IPNet); is && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but those of the loopback interface")
	return ""
}

// Addr is where it listens.
func (p *Tap) Addr() string { return p.listener.Addr().String() }

// Heard is all that clients have sent so far.
func (p *Tap) Heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard.String()
}

func (p *Tap) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp4", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.passing.Go(func() { p.pass(server, io.TeeReader(client, p), client) })
		p.passing.Go(func() { p.pass(client, server, server) })
	}
}

// pass copies until one side ends, and ends both.
func (p *Tap) pass(to net.Conn, from io.Reader, source net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = source.Close()
}

// Write remembers what a client has sent.
func (p *Tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard.Write(b)
}

func (p *Tap) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.passing.Wait()
}
