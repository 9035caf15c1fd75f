package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrEnded is why a question was not put to the broker: [Life.End] was called.
var ErrEnded = errors.New("the connection has ended")

var errUntold = errors.New("closed by the broker")

// Life knows why one session ended, and the questions to the broker that are still
// open. It is safe for concurrent use.
type Life struct {
	peer string

	questions sync.WaitGroup

	mu    sync.Mutex
	cause error // the first one
	ended bool  // no further questions
}

// NewLife begins the life of a session with peer, which names the broker in
// errors and carries no credentials.
func NewLife(peer string) *Life { return &Life{peer: peer} }

// Fail notes why the session ends. The first cause wins, because later errors are
// mostly its consequences.
func (l *Life) Fail(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = cause
	}
}

// Lost returns why the session ended: the cause that [Life.Fail] was given, or else
// told, the client library's error for the connection, which may be nil.
func (l *Life) Lost(told error) error {
	l.mu.Lock()
	cause := l.cause
	l.mu.Unlock()
	if cause == nil {
		cause = told
	}
	if cause == nil {
		cause = errUntold
	}
	return fmt.Errorf("connection to %s lost: %w", l.peer, cause)
}

// Start runs a question to the broker in a goroutine that [Life.End] waits for.
// It returns false, and runs nothing, once End was called.
func (l *Life) Start(question func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.questions.Go(question)
	return true
}

// End refuses further questions and waits for those that run. The caller closes the
// connection first, so that they return.
func (l *Life) End() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.questions.Wait()
}

// Ask puts a question to the broker and returns its answer, the cause of ctx's end, or
// [ErrEnded]. The question has the deadline of ctx. A client library may ignore its
// context while it waits for a lock or for the broker, so the question runs in a
// goroutine of its own. If nobody waits for the answer any more, that goroutine ends
// with the connection at the latest.
func Ask[T any](ctx context.Context, l *Life, question func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	answers := make(chan answer, 1)
	if !l.Start(func() {
		value, err := question(ctx)
		answers <- answer{value, err}
	}) {
		return none, ErrEnded
	}
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// WatchInterval is how often a session looks for messages that were not acknowledged
// within the timeout: often enough to notice them soon after it, and rarely enough to
// cost nothing.
func WatchInterval(ackTimeout time.Duration) time.Duration {
	return min(max(ackTimeout/20, 5*time.Millisecond), 250*time.Millisecond)
}
