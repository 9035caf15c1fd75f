package link

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitTasksOutlastsItsContextByAGrace(t *testing.T) {
	for _, c := range []struct {
		name        string
		last, limit time.Duration // of the tasks, of the context
		want        time.Duration
		ended       bool
	}{
		{"in time", time.Second, time.Minute, time.Second, true},
		{"within the grace", time.Second, 0, time.Second, true},
		{"after the grace", time.Minute, time.Second, time.Second + closeGrace, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var tasks sync.WaitGroup
			tasks.Go(func() { time.Sleep(c.last) })
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			defer cancel()
			begin := time.Now()
			err := AwaitTasks(ctx, &tasks)
			if took := time.Since(begin); took != c.want {
				t.Errorf("%s: awaited for %s, want %s", c.name, took, c.want)
			}
			if c.ended != (err == nil) || !c.ended && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: the error is %v", c.name, err)
			}
			tasks.Wait()
		})
	}
}
