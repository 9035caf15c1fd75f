package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// ErrClosed is why there is no session once [Link.Keep] ends.
var ErrClosed = errors.New("the sink was closed")

var errConnecting = errors.New("not connected yet")

// Options of a link.
type Options struct {
	// Broker and Servers are the names of the peer in errors and in the log.
	Broker  string
	Servers string       // without credentials
	Logger  *slog.Logger // never nil
	// The goroutine of Keep calls Changed after each change of what [Link.Current]
	// returns. Changed must not block. It may be nil.
	Changed func()
}

// Link holds the current session, or why there is none. S is a pointer type, nil
// while there is none.
type Link[S any] struct {
	options Options
	nudge   chan struct{} // holds one: connect now, without the pause

	mu      sync.Mutex
	session S
	err     error         // why there is no session; nil while there is one
	changed chan struct{} // closed and replaced after each change
}

// New returns a link without a session. [Link.Keep] makes sessions.
func New[S any](o Options) *Link[S] {
	l := &Link[S]{options: o, nudge: make(chan struct{}, 1), changed: make(chan struct{})}
	l.err = l.failure(errConnecting)
	return l
}

func (l *Link[S]) failure(err error) error {
	return fmt.Errorf("connect to %s at %s: %w", l.options.Broker, l.options.Servers, err)
}

// Current returns the session, or why there is none: the error of the last
// attempt, the end of the last session, or [ErrClosed]. It does not block. The
// session may have ended a moment ago.
func (l *Link[S]) Current() (S, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.err
}

// Await returns the session. If there is none, an attempt to connect is made at
// once, without the pause, and Await returns its result. If ctx ends first, it
// returns the error of ctx with the last known reason. Once Keep has returned, it
// returns [ErrClosed] at once.
func (l *Link[S]) Await(ctx context.Context) (S, error) {
	l.mu.Lock()
	session, err, changed := l.session, l.err, l.changed
	l.mu.Unlock()
	if err == nil || errors.Is(err, ErrClosed) { // no session follows
		return session, err
	}
	select {
	case l.nudge <- struct{}{}:
	default:
	}
	select {
	case <-changed:
		return l.Current()
	case <-ctx.Done():
		return session, fmt.Errorf("%w; last: %w", ctx.Err(), err)
	}
}

func (l *Link[S]) set(session S, err error) {
	l.mu.Lock()
	l.session, l.err = session, err
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	if l.options.Changed != nil {
		l.options.Changed()
	}
}
