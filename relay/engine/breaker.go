package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// breaker is open while the sink takes no messages. When it opens, what was not
// published returns to the table; a probe closes it. Each failure lengthens the pause
// before the next probe. Only an acknowledgement resets the pause, so that a broker
// that answers probes and takes no message is not asked in a tight loop.
type breaker struct {
	open     bool
	failures int // openings and failed probes since the last acknowledgement
	// lost says that the sink has reported a message as lost since the breaker opened.
	// All messages that it reports until the breaker closes belong to one loss.
	lost bool
	// since is when it opened; reason says why it is still open.
	since  time.Time
	closed time.Time
	reason string
	// paused is when the broker asked the sink to pause; zero while it does not ask for
	// that. It does not depend on whether the breaker is open.
	paused time.Time
}

// flapping: an opening this soon after the last close continues the same outage. A
// broker may answer probes and still take nothing.
const flapping = 10 * time.Second

// fail notes that the sink takes no messages.
func (b *breaker) fail(now time.Time, err error) {
	if b.failures == 0 || !b.closed.IsZero() && now.Sub(b.closed) > flapping {
		b.since = now
	}
	b.failures++
	b.closed = time.Time{}
	b.reason = err.Error()
}

// close notes that a probe was answered.
func (b *breaker) close(now time.Time) {
	b.open, b.lost, b.closed = false, false, now
}

// openFor is how long the sink has taken no messages.
func (b *breaker) openFor(now time.Time) time.Duration {
	if !b.open || b.failures == 0 {
		return 0
	}
	return now.Sub(b.since)
}

// probePause is the pause before a probe; the first probe comes soon, because
// most losses are a reconnect.
var probePause = Backoff{50 * time.Millisecond, 5 * time.Second}

// openBreaker notes that the sink took no message. A term begins with an open breaker
// and no error: before any row is read, the first probe shows whether there is a
// broker, and how large a message may be.
func (t *term) openBreaker(reason string, err error) {
	if t.breaker.open {
		return
	}
	t.breaker.open = true
	if err != nil {
		t.breaker.fail(time.Now(), err)
		t.faults.report(faultSink, slog.String("reason", reason), slog.Any("error", err))
	}
	t.returnAll()
	t.prober.requests <- probePause.equal(max(1, t.breaker.failures))
}

// probed acts on the answer of a probe.
func (t *term) probed(err error) {
	t.takeReports() // they belong to the loss before the probe
	if err == nil {
		t.breaker.close(time.Now())
		if t.breaker.failures == 0 {
			t.breakerProved()
		}
		return
	}
	t.breaker.fail(time.Now(), err)
	t.faults.report(faultSink, slog.String("reason", "probe"), slog.Any("error", err))
	t.prober.requests <- probePause.equal(t.breaker.failures)
}

// breakerProved notes that the sink works: a message was acknowledged.
func (t *term) breakerProved() {
	t.breaker.failures, t.breaker.reason = 0, ""
	t.faults.recovered(faultSink)
	t.faults.recovered(faultExpired)
}

// prober asks the sink whether it takes messages: on request, and after the pause in
// the request. It has a goroutine of its own, because a probe waits for the broker.
type prober struct {
	relay    *Relay
	requests chan time.Duration
	results  chan error
}

// probeTimeout bounds one probe.
const probeTimeout = 5 * time.Second

func newProber(r *Relay) *prober {
	return &prober{relay: r, requests: make(chan time.Duration, 1), results: make(chan error, 1)}
}

// run answers requests until ctx ends. The loop has one request open at a time.
func (p *prober) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case pause := <-p.requests:
			if relay.Sleep(ctx, pause) != nil {
				return
			}
			p.results <- p.probe(ctx)
		}
	}
}

// probe first waits until the sink has reported the messages of an earlier term,
// because all terms share the sink's window.
func (p *prober) probe(ctx context.Context) error {
	for p.relay.withSink.Load() > 0 {
		if err := relay.Sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return p.relay.config.Sink.Probe(ctx)
}
