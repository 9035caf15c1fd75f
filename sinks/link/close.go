package link

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// closeGrace is how long AwaitTasks outlasts its context.
const closeGrace = 2 * time.Second

// AwaitTasks returns nil when all goroutines of a sink have ended. They have been
// told to, and end within a moment, so it waits for a grace of two seconds even if
// ctx has ended. After that it returns an error, which wraps that of ctx.
func AwaitTasks(ctx context.Context, tasks *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("goroutines still running: %w", ctx.Err())
	}
}
