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
