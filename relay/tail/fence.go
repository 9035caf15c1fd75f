package tail

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// The pauses between two looks at the fence double from fencePauseMin to fencePauseMax.
const (
	fencePauseMin = time.Millisecond
	fencePauseMax = 50 * time.Millisecond
)

var (
	ownXIDStatement    = statements.Statement("own_xid", nil)
	oldestXIDStatement = statements.Statement("oldest_xid", nil)
)

// Fence blocks until whatever committed before the slot's start is visible to
// every statement that begins after it has returned. Call it before
// [Stream.Start]; a survey that begins then, and the stream, miss nothing between
// them.
//
// Schedule that loses a message: X writes its commit into the log, and waits for the
// synchronous standby. The slot is created behind that commit, so the stream does not
// have X. A survey does not see X yet. The stream starts. So the fence takes a
// transaction id of its own, which is larger than that of any such X, and waits until
// all up to it have ended. It waits as long as the creation of the slot may take. Then
// an [UnavailableError] with [ReasonBlocked] names who is in the way.
func (s *Stream) Fence(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, s.options.CreateTimeout)
	defer cancel()
	own, err := s.askFullXID(limited, ownXIDStatement)
	if err != nil {
		return s.refusedFence(ctx, err)
	}
	for pause := fencePauseMin; ; pause = min(2*pause, fencePauseMax) {
		oldest, err := s.askFullXID(limited, oldestXIDStatement)
		if err == nil && oldest > own {
			return nil
		}
		if err == nil {
			err = relay.Sleep(limited, pause)
		}
		if err != nil {
			return s.refusedFence(ctx, err)
		}
	}
}

// refusedFence says why the fence is not passed. The end of its time cancels the statement
// that runs then, of which the server tells.
func (s *Stream) refusedFence(ctx context.Context, err error) error {
	late := errors.Is(err, context.DeadlineExceeded) || sqltext.Code(err) == codeQueryCanceled
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case late && !s.pg.IsClosed():
		err = blocked(ctx, s.pg, err)
	}
	return fmt.Errorf("wait for open transactions: %w", err)
}

// askFullXID returns the xid8 that a statement selects.
func (s *Stream) askFullXID(ctx context.Context, statement sqltext.Statement) (wal.FullXID, error) {
	r, err := one[struct{ XID string }](ctx, s.pg, statement, nil)
	if err != nil {
		return 0, err
	}
	x, err := strconv.ParseUint(r.XID, 10, 64)
	return wal.FullXID(x), err
}
