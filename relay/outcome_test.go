package relay_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestOutcomesCarryClassTypeAndError(t *testing.T) {
	cause := errors.New("cause")
	tooLarge := fmt.Errorf("%w: 9 bytes", relay.ErrTooLarge)
	for _, c := range []struct {
		got     relay.Outcome
		class   relay.Class
		reason  relay.ErrorType
		wrapped error
	}{
		{relay.RefusedOutcome(relay.ErrorTypeFull, "queue: %w", cause), relay.Refused, relay.ErrorTypeFull, cause},
		{relay.RejectedOutcome(cause), relay.Rejected, relay.ErrorTypeInvalid, cause},
		{relay.RejectedOutcome(tooLarge), relay.Rejected, relay.ErrorTypeTooLarge, relay.ErrTooLarge},
		{relay.UnavailableOutcome(relay.ErrorTypeNotReady, cause), relay.Unavailable, relay.ErrorTypeNotReady, cause},
		{relay.UnknownOutcome(relay.ErrorTypeDisconnected, cause), relay.Unknown, relay.ErrorTypeDisconnected, cause},
	} {
		if c.got.Class != c.class || c.got.Type != c.reason || !errors.Is(c.got.Err, c.wrapped) {
			t.Errorf("%+v, want class %s, type %s and an error that wraps %q", c.got, c.class, c.reason, c.wrapped)
		}
	}
}
