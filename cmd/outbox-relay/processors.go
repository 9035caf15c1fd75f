package main

import (
	"context"
	"log/slog"
	"runtime"
	"time"
)

// Where Go may use several processors, it wakes another thread whenever a goroutine has
// something to do, even if the one that it has would come to it at once. At a few thousand
// rows a second a relay is woken all the time, and spends a quarter of its processor time on
// that. So it uses one processor while that is enough.
const (
	processorsLook = time.Second
	// Shares of a processor: with more than muchWork the relay uses all that Go would use,
	// and after quietLooks with less than littleWork only one.
	muchWork, littleWork = 0.7, 0.5
	quietLooks           = 2
)

// processors decides how many processors Go uses. At first it is all.
type processors struct {
	useOne, useAll func()
	one            bool
	quiet          int // how many looks in a row found little work
}

// look gets the share of a processor that was used since the last look.
func (p *processors) look(used float64) {
	p.quiet++
	if used >= littleWork {
		p.quiet = 0
	}
	switch {
	case p.one && used > muchWork:
		p.one = false
		p.useAll()
	case !p.one && p.quiet >= quietLooks:
		p.one = true
		p.useOne()
	}
}

// fitProcessors decides each second until stop is called, which waits. used returns the
// processor time that the process has used; nil: it is not known. If GOMAXPROCS is set,
// that counts.
func fitProcessors(ctx context.Context, env []string, used func() time.Duration, log *slog.Logger) (stop func()) {
	all := runtime.GOMAXPROCS(0)
	if isSet(env, "GOMAXPROCS") || all == 1 || used == nil {
		return func() {}
	}
	told := func(n int) { log.Debug("Go uses another number of processors", slog.Int("gomaxprocs", n)) }
	p := &processors{
		useOne: func() { runtime.GOMAXPROCS(1); told(1) },
		useAll: func() { runtime.SetDefaultGOMAXPROCS(); told(runtime.GOMAXPROCS(0)) },
	}
	last, before := time.Now(), used()
	stopLooking := lookEach(ctx, processorsLook, func(now time.Time) {
		total := used()
		p.look((total - before).Seconds() / now.Sub(last).Seconds())
		last, before = now, total
	})
	return func() {
		stopLooking()
		if p.one {
			p.useAll()
		}
	}
}
