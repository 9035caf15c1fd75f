package faultproxy_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is how long a test listens to be sure that nothing comes.
const quiet = 200 * time.Millisecond

func setUp(t *testing.T) (*echo, *faultproxy.Proxy) {
	t.Helper()
	e := startEcho(t)
	p, err := faultproxy.Start(t.Context(), e.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, p
}

func dial(t *testing.T, p *faultproxy.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	deadline(t, conn, time.Minute)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("received %q, %v, want %q", got, err, want)
	}
}

func expectNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	deadline(t, conn, quiet)
	n, err := conn.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("received %d bytes, %v, want silence", n, err)
	}
}

func expectReset(t *testing.T, conn net.Conn) {
	t.Helper()
	deadline(t, conn, time.Minute)
	if rest, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
		t.Fatalf("received %q, %v, want a reset", rest, err)
	}
}

// expectRefusal opens a connection that is reset, perhaps before the dial has
// returned.
func expectRefusal(t *testing.T, p *faultproxy.Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	expectReset(t, conn)
}

func deadline(t *testing.T, conn net.Conn, d time.Duration) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
}

func TestUndisturbedBytesPassUnchanged(t *testing.T) {
	_, p := setUp(t)
	conn := dial(t, p)
	sent := make([]byte, 3<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(sent)
	var writer sync.WaitGroup
	writer.Go(func() {
		_, _ = conn.Write(sent)
		_ = conn.CloseWrite() // passed on: else the echo's end never comes
	})
	deadline(t, conn, time.Minute)
	got, err := io.ReadAll(conn)
	writer.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, or others", len(got), len(sent))
	}
}

func TestCutResetsAllAndAcceptsNewOnes(t *testing.T) {
	_, p := setUp(t)
	first, second := dial(t, p), dial(t, p)
	for _, conn := range []net.Conn{first, second} {
		send(t, conn, "hello")
		expect(t, conn, "hello")
	}
	p.Cut()
	expectReset(t, first)
	expectReset(t, second)
	third := dial(t, p)
	send(t, third, "again")
	expect(t, third, "again")
	if n := p.Accepted(); n != 3 {
		t.Errorf("%d connections accepted, want 3", n)
	}
}

func TestRefuseLeavesPresentConnections(t *testing.T) {
	_, p := setUp(t)
	present := dial(t, p)
	send(t, present, "a")
	expect(t, present, "a")
	p.Refuse(true)
	expectRefusal(t, p)
	send(t, present, "b")
	expect(t, present, "b")
	p.Refuse(false)
	later := dial(t, p)
	send(t, later, "c")
	expect(t, later, "c")
}

func TestStallHidesTheEndOfOneSideFromTheOther(t *testing.T) {
	e, p := setUp(t)
	conn := dial(t, p)
	send(t, conn, "before ")
	expect(t, conn, "before ")
	p.Stall(true)
	send(t, conn, "during ")
	e.closeConns()
	expectNothing(t, conn)
	fresh := dial(t, p)
	send(t, fresh, "fresh ")
	expectNothing(t, fresh)
	if got := e.received(); got != "before " {
		t.Errorf("the server received %q during the stall", got)
	}
	p.Stall(false)
	expect(t, fresh, "fresh ")
	deadline(t, conn, time.Minute)
	if rest, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) || len(rest) > 0 {
		t.Errorf("after the stall the client received %q, %v, want the end", rest, err)
	}
}

func TestStallPassesOnLater(t *testing.T) {
	_, p := setUp(t)
	conn := dial(t, p)
	p.Stall(true)
	send(t, conn, "held")
	expectNothing(t, conn)
	p.Stall(false)
	expect(t, conn, "held")
}

func TestHeldRepliesAreLostByACut(t *testing.T) {
	e, p := setUp(t)
	conn := dial(t, p)
	p.StallReplies(true)
	send(t, conn, "acted upon")
	await.Until(t, "a held reply", func() bool { return p.HeldReplies() > 0 })
	if got := e.received(); got != "acted upon" {
		t.Errorf("the server received %q", got)
	}
	expectNothing(t, conn)
	p.Cut()
	expectReset(t, conn)
	p.StallReplies(false)
	await.Until(t, "the end of the hold", func() bool { return p.HeldReplies() == 0 })
	again := dial(t, p)
	send(t, again, "x")
	expect(t, again, "x")
}

func TestHeldRepliesArriveWhenTheStallEnds(t *testing.T) {
	_, p := setUp(t)
	conn := dial(t, p)
	p.StallReplies(true)
	send(t, conn, "late")
	await.Until(t, "a held reply", func() bool { return p.HeldReplies() > 0 })
	p.Stall(true)
	p.Stall(false) // the end of the one does not end the other
	expectNothing(t, conn)
	p.StallReplies(false)
	expect(t, conn, "late")
}

func TestCutOnPatternSpreadOverPackets(t *testing.T) {
	e, p := setUp(t)
	p.CutOn([]byte("POISON"))
	victim, other := dial(t, p), dial(t, p)
	send(t, other, "harmless")
	expect(t, other, "harmless")
	send(t, victim, "POI")
	expect(t, victim, "POI")
	send(t, victim, "SO")
	expect(t, victim, "SO")
	send(t, victim, "N and more")
	expectReset(t, victim)
	send(t, other, "POISSON")
	expect(t, other, "POISSON")
	if bytes.Contains([]byte(e.received()), []byte("POISON")) {
		t.Error("the server received the whole pattern")
	}
	p.CutOn(nil)
	send(t, other, "POISON")
	expect(t, other, "POISON")
}

func TestStallOnPatternHoldsBackTheClientAlone(t *testing.T) {
	e, p := setUp(t)
	p.StallOn([]byte("HOLD"))
	victim, other := dial(t, p), dial(t, p)
	send(t, victim, "before HO")
	expect(t, victim, "before HO")
	send(t, victim, "LD and more")
	send(t, other, "harmless")
	expect(t, other, "harmless")
	p.StallOn(nil)
	send(t, victim, "never seen")
	send(t, other, "HOLD")
	expect(t, other, "HOLD")
	if got := e.received(); strings.Contains(got, "LD and") || strings.Contains(got, "never") {
		t.Errorf("the server received %q", got)
	}
	e.closeConns() // what the server does is passed on
	deadline(t, victim, time.Minute)
	if rest, err := io.ReadAll(victim); err != nil || len(rest) > 0 {
		t.Errorf("received %q, %v, want the end", rest, err)
	}
}

func TestClientIsResetWhenTheTargetIsDown(t *testing.T) {
	e, p := setUp(t)
	if err := e.listener.Close(); err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, p)
}

func TestCloseEndsStalledConnections(t *testing.T) {
	_, p := setUp(t)
	conn := dial(t, p)
	p.Stall(true)
	send(t, conn, "never seen")
	await.Until(t, "the connection", func() bool { return p.Accepted() == 1 })
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expectReset(t, conn)
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("a closed proxy accepts connections")
	}
}
