package rabbitmq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
)

// Nothing is in flight, so only heartbeats show that the connection is dead.
func TestHalfOpenIdleConnectionIsNoticed(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	log := &transcript.Text{}
	o := p.options()
	o.URLs, o.Logger = "amqp://"+proxy.Addr(), slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	reach(t, s)
	proxy.Stall(true)
	began := time.Now()
	eventually(t, "the loss is logged", func() error {
		if !strings.Contains(log.String(), "not even a heartbeat") {
			return errors.New("not yet")
		}
		return nil
	})
	t.Logf("noticed after %v", time.Since(began).Round(time.Second))
	proxy.Stall(false)
	reach(t, s)
}

func TestWrongCredentialsAreToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	user := "late-" + p.exchange
	log := &transcript.Text{}
	o := p.options()
	o.URLs = server(t).URLAs(user, "hunter2")
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	eventually(t, "the refusal", func() error {
		if err := probe(t, s); err == nil || !strings.Contains(err.Error(), "check OUTBOX_SINK_URL") || !strings.Contains(err.Error(), user) {
			return errors.Join(errors.New("probe says"), err)
		}
		return nil
	})
	expect(t, s, messageTo("a", 1), relay.Unavailable, relay.ErrorTypeDisconnected, user)
	ctl(t, "add_user", user, "hunter2")
	t.Cleanup(func() { ctl(t, "delete_user", user) })
	eventually(t, "no grant on the virtual host", func() error {
		if err := probe(t, s); err == nil || !strings.Contains(err.Error(), "rabbitmqctl set_permissions -p '/'") {
			return errors.Join(errors.New("probe says"), err)
		}
		return nil
	})
	ctl(t, "set_permissions", "-p", "/", user, "", ".*", "")
	reach(t, s)
	expect(t, s, messageTo("a", 2), relay.Acknowledged, "", "")
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log shows the password:\n%s", log)
	}
	if n := strings.Count(log.String(), "cannot connect"); n == 0 || n > 5 {
		t.Errorf("one fault was logged %d times:\n%s", n, log)
	}
}

func TestConnectionsClosedByAnOperator(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeQuorum)
	queue := p.queue("all", "#", nil)
	o := p.options()
	o.Name = "outbox-relay a-host public.outbox"
	s := open(t, o)
	reach(t, s)
	if n := countConnections(t, o.Name); n != 1 {
		t.Errorf("the broker shows %d connections of that name", n)
	}
	stop := make(chan struct{})
	r := newResults(t)
	var load sync.WaitGroup
	load.Go(func() { publishUntil(stop, s, r) })
	for range 3 {
		ctl(t, "close_all_connections", "maintenance")
		reach(t, s)
	}
	close(stop)
	load.Wait()
	stored := map[string]bool{}
	for _, d := range take(t, queue) {
		stored[d.MessageId] = true
	}
	count := map[relay.Class]int{}
	for n, o := range r.by {
		count[o.Class]++
		if o.Class == relay.Acknowledged && !stored[messageTo("a", int(n)).MessageID.String()] {
			t.Fatalf("message %d was acknowledged and is not stored", n)
		}
	}
	if count[relay.Refused]+count[relay.Rejected] > 0 {
		t.Errorf("outcomes are %v", count)
	}
}

// publishUntil keeps a window of 50 full, until stop is closed, and awaits all
// reports.
func publishUntil(stop <-chan struct{}, s relay.Sink, r *results) {
	slots := make(chan struct{}, 50)
	for i := 0; ; i++ {
		select {
		case <-stop:
			for range cap(slots) {
				slots <- struct{}{}
			}
			return
		case slots <- struct{}{}:
		}
		s.Publish(messageTo("a", i), func(m *relay.Message, o relay.Outcome) {
			r.report(m, o)
			if o.Class == relay.Acknowledged {
				<-slots
				return
			}
			// A sink that is down reports as fast as it is asked.
			time.AfterFunc(20*time.Millisecond, func() { <-slots })
		})
	}
}

// The other nodes of the list are tried too, and a killed node keeps what it confirmed.
func TestKilledNode(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeQuorum)
	quorum := p.queue("quorum", "#", nil)
	p.kind = amqp.QueueTypeClassic
	classic := p.queue("classic", "#", nil)
	o := p.options()
	o.URLs = "amqp://127.0.0.1:1," + strings.TrimPrefix(o.URLs, "amqp://")
	s := open(t, o)
	reach(t, s)
	stop := make(chan struct{})
	r := newResults(t)
	var load sync.WaitGroup
	load.Go(func() { publishUntil(stop, s, r) })
	// A quorum queue that was declared a moment before the kill does not come back.
	if err := server(t).SaveDeclarations(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		acknowledgedMore(t, r, 300)
		if err := server(t).Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server(t).Restart(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		silence = sync.Once{}
		reach(t, s)
	}
	acknowledgedMore(t, r, 300)
	close(stop)
	load.Wait()
	for _, queue := range []string{quorum, classic} {
		stored := map[string]bool{}
		for _, d := range take(t, queue) {
			stored[d.MessageId] = true
		}
		for n, o := range r.by {
			switch {
			case o.Class == relay.Acknowledged && !stored[messageTo("a", int(n)).MessageID.String()]:
				t.Fatalf("message %d was acknowledged and is not in %s", n, queue)
			case o.Class == relay.Rejected:
				t.Fatalf("message %d is %s %q (%v)", n, o.Class, o.Type, o.Err)
			}
		}
	}
}

func acknowledgedMore(t *testing.T, r *results, n int) {
	t.Helper()
	count := func() (int, string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.acknowledged, r.last
	}
	before, _ := count()
	want := before + n
	eventually(t, "acknowledgements", func() error {
		if n, last := count(); n < want {
			return fmt.Errorf("%d of %d; the last report: %s", n, want, last)
		}
		return nil
	})
}

func TestNothingLeaksOverAHundredReconnects(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	o := p.options()
	o.URLs, o.Name = "amqp://"+proxy.Addr(), "leaks"
	s := open(t, o)
	reach(t, s)
	before := runtime.NumGoroutine()
	for i := range 100 {
		proxy.Cut()
		reach(t, s)
		if o := await(t, s, messageTo("a", i)); o.Class != relay.Acknowledged && o.Class != relay.Unknown && o.Class != relay.Unavailable {
			t.Fatalf("message %d is %s %q (%v)", i, o.Class, o.Type, o.Err)
		}
	}
	eventually(t, "as many goroutines as before", func() error {
		if n := runtime.NumGoroutine(); n > before+5 {
			return errors.New("too many")
		}
		return nil
	})
	eventually(t, "one connection of the sink at the broker", func() error {
		if n := countConnections(t, "leaks"); n != 1 {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
}

// A message ends the connection before all of it is written. It must not be reported as
// one that was never tried: no attempt would be counted, and it would be tried for ever.
func TestMessageThatKillsTheConnectionInItsMiddle(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("good", "good", nil)
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	poison := "this one kills connections"
	proxy.CutOn([]byte(poison))
	o := p.options()
	o.URLs = "amqp://" + proxy.Addr()
	s := open(t, o)
	for i := range 3 {
		reach(t, s)
		m := messageTo("good", 10*i)
		m.Payload = append([]byte(poison), bytes.Repeat([]byte("x"), 15<<20)...) // more than the sockets take
		check(t, m, await(t, s, m), relay.Unknown, relay.ErrorTypeDisconnected, "")
		reach(t, s)
		expect(t, s, messageTo("good", 10*i+1), relay.Acknowledged, "", "")
	}
}

// On an idle connection only heartbeats show that the broker lives.
func TestIdleConnectionIsKept(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	log := &transcript.Text{}
	o := p.options()
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	reach(t, s)
	began := time.Now()
	eventually(t, "longer than a broker may be silent", func() error {
		if d := time.Since(began); d < 30*time.Second {
			return fmt.Errorf("%v", d)
		}
		return nil
	})
	if text := log.String(); strings.Contains(text, "lost") {
		t.Errorf("the connection was lost:\n%s", text)
	}
}

// A broker, or proxy, that ends each connection at once must not be flooded with
// connections.
func TestConnectionsThatEndAtOnceAreMadeEverMoreSlowly(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	o := p.options()
	o.URLs = "amqp://" + proxy.Addr()
	o.Logger = slog.New(slog.NewTextHandler(cutter{proxy}, nil))
	began := time.Now()
	open(t, o)
	eventually(t, "some connections, and the time is over", func() error {
		if n, d := proxy.Accepted(), time.Since(began); n < 3 || d < 5*time.Second {
			return fmt.Errorf("%d connections in %v", n, d)
		}
		return nil
	})
	// The pauses are 50 ms at least, then 100, and so on: in 5 s there are at most
	// seven connections, and some fifty without.
	n, d := proxy.Accepted(), time.Since(began).Round(100*time.Millisecond)
	t.Logf("%d connections in %v", n, d)
	if n >= 15 {
		t.Errorf("%d connections in %v, want ever longer pauses", n, d)
	}
}

// cutter is a log that cuts each connection as soon as the log says that it is made.
type cutter struct{ proxy *faultproxy.Proxy }

func (c cutter) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("connected to RabbitMQ")) {
		c.proxy.Cut()
	}
	return len(line), nil
}
