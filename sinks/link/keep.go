package link

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Broker makes sessions of type S and serves them. Its methods are called one
// after the other, by the goroutine of [Link.Keep].
type Broker[S any] interface {
	// Connect makes a session, or says why it could not and what a person has to
	// mend, without credentials. It blocks, but not for long once ctx has ended.
	Connect(ctx context.Context) (S, error)
	// Describe names the session's server for the log.
	Describe(session S) []slog.Attr
	// Serve blocks while the session lives and ctx has not ended, and returns why it
	// ended, which is never nil. The session is the current one meanwhile.
	Serve(ctx context.Context, session S) error
	// End frees the session, which is not the current one any more. It returns once
	// every goroutine of the session has ended and every message on it is reported.
	End(session S)
}

// Pauses between attempts to connect double from the first to the second, with
// jitter, so that many relays do not come back in one moment.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = 5 * time.Second
)

func pause(failures int) time.Duration {
	d := pauseMax
	if failures < 6 {
		d = min(pauseMax, pauseMin<<failures)
	}
	return d/2 + rand.N(d/2)
}

// Keep makes one session after the other until ctx ends. It returns when the
// last one has ended; [Link.Current] says [ErrClosed] from then on.
func (l *Link[S]) Keep(ctx context.Context, b Broker[S]) {
	out := outage{broker: l.options.Broker, log: l.options.Logger}
	for failures := 0; ctx.Err() == nil; {
		// A session that is made and ends at once is no success: a broker that takes
		// connections only to close them would be stormed.
		if l.attempt(ctx, b, &out) > pauseMax {
			failures = 0
			l.wait(ctx, rand.N(pauseMin))
			continue
		}
		l.wait(ctx, pause(failures))
		failures++
	}
	var none S
	l.set(none, ErrClosed)
}

// attempt makes a session and serves it until it has ended. It returns how long
// there was one; 0: it could not be made.
func (l *Link[S]) attempt(ctx context.Context, b Broker[S], out *outage) time.Duration {
	var none S
	session, err := b.Connect(ctx)
	select {
	case <-l.nudge: // who asked for a connection meanwhile has got this attempt
	default:
	}
	if err != nil {
		err = l.failure(err)
		l.set(none, err)
		out.failed(err)
		return 0
	}
	began := time.Now()
	l.set(session, nil)
	ended := out.made(b.Describe(session))

	lost := b.Serve(ctx, session)
	lived := time.Since(began)
	ended()
	if ctx.Err() != nil {
		lost = ErrClosed
	}
	l.set(none, lost)
	b.End(session)
	if ctx.Err() == nil {
		out.lost(lost, lived)
	}
	return lived
}

// wait returns after d, when somebody asks for a connection, or when ctx ends.
func (l *Link[S]) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.nudge:
	case <-ctx.Done():
	}
}
