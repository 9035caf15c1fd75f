package tail

import "time"

// LimitFence changes how long the fence of a stream waits, which is otherwise as long as
// the stream's opening may take.
func LimitFence(s *Stream, d time.Duration) { s.options.CreateTimeout = d }
