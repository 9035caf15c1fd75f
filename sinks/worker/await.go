package worker

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// grace is how long Await outlasts its context.
const grace = 2 * time.Second

// Await blocks until all tasks have ended. They have been told to, and end by
// themselves within a moment, also when ctx has ended already: a grace keeps the
// promise that no goroutine is left. Tasks that do not keep to that are an error,
// which has that of ctx in it.
func Await(ctx context.Context, tasks *sync.WaitGroup) error {
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
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("goroutines still running: %w", ctx.Err())
	}
}
