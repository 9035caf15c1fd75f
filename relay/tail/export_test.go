package tail

import (
	"context"
	"syscall"
	"time"
)

// LimitFence changes how long the fence of a stream waits, which is otherwise as long as
// the stream's opening may take.
func LimitFence(s *Stream, d time.Duration) { s.options.CreateTimeout = d }

// RefusedFence is what the fence of a stream returns if one of its statements fails.
func RefusedFence(ctx context.Context, s *Stream, err error) error { return s.refusedFence(ctx, err) }

// CoalesceAbove changes from how many transactions a second on a stream reads in bunches.
func CoalesceAbove(s *Stream, perSecond float64) {
	if c := s.link.coalescer; c != nil {
		c.above = perSecond
	}
}

// Pauses is how often a stream has waited before it read. For the goroutine that reads.
func Pauses(s *Stream) int {
	if c := s.link.coalescer; c != nil {
		return c.pauses
	}
	return 0
}

// Socket is that of a stream, or nil.
func Socket(s *Stream) syscall.RawConn {
	if c := s.link.coalescer; c != nil {
		return c.socket
	}
	return nil
}

// WakingBytes is how many bytes wake the process during a pause.
const WakingBytes = wakingBytes
