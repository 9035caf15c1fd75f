package natsjs

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// Operations of the JetStream API, as the end of their subjects names them.
const (
	askAccount = "INFO"
	askNames   = "STREAM.NAMES"
)

var errDenied = errors.New("not permitted to ask JetStream")

// ask runs a request to the JetStream API with a deadline. It returns errDenied as soon
// as the server says that the request is not permitted. The client library would wait
// for the deadline.
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
	value, err := link.Ask(ctx, s.life, request)
	if err != nil && errors.Is(context.Cause(ctx), errDenied) {
		var none T
		return none, errDenied
	}
	return value, err
}
