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
	// Connect makes a session, or returns why it could not and how to fix that,
	// without credentials. It blocks, but only for a moment once ctx has ended.
	Connect(ctx context.Context) (S, error)
	// Describe names the session's server for the log.
	Describe(session S) []slog.Attr
	// Serve blocks until the session or ctx has ended. It returns why the session
	// ended, never nil. While it runs, the session is the current one.
	Serve(ctx context.Context, session S) error
	// End frees the session, which is no longer the current one. It returns once
	// every goroutine of the session has ended and every message on it is reported.
	End(session S)
}

// Pauses between attempts to connect double from pauseMin to pauseMax, with jitter,
// so that many relays do not come back at the same moment.
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
// last one has ended. From then on [Link.Current] returns [ErrClosed].
func (l *Link[S]) Keep(ctx context.Context, b Broker[S]) {
	out := outage{broker: l.options.Broker, logger: l.options.Logger}
	for failures := 0; ctx.Err() == nil; {
		// A session that ends at once does not count as a success: a broker that
		// accepts connections only to close them would be flooded with attempts.
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
// the session lived, or 0 if it could not be made.
func (l *Link[S]) attempt(ctx context.Context, b Broker[S], out *outage) time.Duration {
	var none S
	session, err := b.Connect(ctx)
	select {
	case <-l.nudge: // this attempt answers whoever asked for one meanwhile
	default:
	}
	if err != nil {
		err = l.failure(err)
		l.set(none, err)
		if ctx.Err() == nil {
			out.noteFailed(err)
		}
		return 0
	}
	began := time.Now()
	l.set(session, nil)
	ended := out.noteMade(b.Describe(session))

	lost := b.Serve(ctx, session)
	lived := time.Since(began)
	ended()
	if ctx.Err() != nil {
		lost = ErrClosed
	}
	l.set(none, lost)
	b.End(session)
	if ctx.Err() == nil {
		out.noteLost(lost, lived)
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
