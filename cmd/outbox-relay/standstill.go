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
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(standstillLook)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := time.Now()
			if stood := now.Sub(last); stood >= standstillTold {
				log.Warn("the relay stood still: its process, its container or its host was frozen, or had no processor time",
					slog.Duration("for", stood.Round(time.Second)))
			}
			last = now
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
