package natsjs

import (
	"context"
	"errors"
	"time"
)

// Operations of the JetStream API, as the end of their subjects names them.
const (
	askAccount = "INFO"
	askNames   = "STREAM.NAMES"
)

var (
	errDenied = errors.New("not permitted to ask JetStream")
	errEnded  = errors.New("the connection has ended")
)

// ask runs a request to the JetStream API, with a deadline, and gives it up as
// soon as the server says that it is not permitted: the client library would
// wait.
func ask[T any](ctx context.Context, s *session, operation string, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, min(s.options.AckTimeout/2, 2*time.Second))
	defer cancel()
	ctx, deny := context.WithCancelCause(ctx)
	defer deny(nil)
	done, denied := s.denials.watch(operation, deny)
	if denied {
		var none T
		return none, errDenied
	}
	defer done()
	return call(ctx, s, request)
}

// call runs a request until ctx ends. The client library heeds no context while
// it waits for the lock that a stalled write holds, so the request has a
// goroutine of its own, which ends with the connection at the latest.
func call[T any](ctx context.Context, s *session, request func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	results := make(chan result, 1)
	if !s.start(func() {
		value, err := request(ctx)
		results <- result{value, err}
	}) {
		return none, errEnded
	}
	select {
	case r := <-results:
		if r.err != nil && errors.Is(context.Cause(ctx), errDenied) {
			return none, errDenied
		}
		return r.value, r.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// start runs a request in a goroutine that end awaits. It does nothing once the
// session has ended.
func (s *session) start(request func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.requests.Go(request)
	return true
}
