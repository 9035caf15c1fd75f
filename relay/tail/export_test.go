package tail

import (
	"context"
	"time"
)

// LimitFence changes how long the fence of a stream waits, which is otherwise as long as
// the stream's opening may take.
func LimitFence(s *Stream, d time.Duration) { s.options.CreateTimeout = d }

// RefusedFence is what the fence of a stream returns if one of its statements fails.
func RefusedFence(ctx context.Context, s *Stream, err error) error { return s.refusedFence(ctx, err) }

// CoalesceAbove changes from how many transactions a second on a stream reads in bunches.
func CoalesceAbove(s *Stream, perSecond float64) { s.link.coalescer.above = perSecond }

// Pauses is how often a stream has waited before it read. For the goroutine that reads.
func Pauses(s *Stream) int { return s.link.coalescer.pauses }
