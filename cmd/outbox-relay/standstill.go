package main

import (
	"context"
	"log/slog"
	"time"
)

// When a process is frozen, it tells nobody. What is around it notices: its probe, a scrape
// that fails, a standby. Afterwards its log says so, since all it logs otherwise is that
// sessions have ended and time has passed, as if PostgreSQL or the broker were at fault.
const (
	standstillLook = time.Second
	// standstillTold is longer than a busy machine keeps a process waiting.
	standstillTold = 10 * time.Second
)

// watchStandstill looks at the clock until stop is called, which waits.
func watchStandstill(ctx context.Context, log *slog.Logger) (stop func()) {
	last := time.Now()
	return lookEach(ctx, standstillLook, func(now time.Time) {
		if stood := now.Sub(last); stood >= standstillTold {
			log.Warn("the relay stood still: its process, its container or its host was frozen, or had no processor time",
				slog.Duration("for", stood.Round(time.Second)))
		}
		last = now
	})
}

// lookEach calls look each interval, on one goroutine, until stop is called, which waits for
// it. The end of ctx does not stop it: the relay's own end takes a while.
func lookEach(ctx context.Context, interval time.Duration, look func(now time.Time)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look(time.Now())
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
