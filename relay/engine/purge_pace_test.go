package engine

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// oldRows is sent rows that may be deleted, told in the dumbest way: a number. A step takes
// 20 ms. It stands for a session only where time has to be made up.
type oldRows struct {
	rows  func() int64 // that there ever were
	gone  atomic.Int64
	steps atomic.Int64
}

func (o *oldRows) Purge(_ context.Context, run relay.PurgeRun) (relay.Purged, error) {
	<-time.After(20 * time.Millisecond)
	n := min(int64(run.Rows), o.rows()-o.gone.Load())
	o.gone.Add(n)
	o.steps.Add(1)
	return relay.Purged{Rows: n, Next: run.From + 1, Left: math.MaxInt64, Done: n < int64(run.Rows)}, nil
}

func (*oldRows) Close() {}

// purgeForAMinute runs a purge of these rows for a minute.
func purgeForAMinute(t *testing.T, o *oldRows, sent func() uint64) {
	t.Helper()
	p := newPurge(time.Second, sent, func(context.Context) (relay.Purger, error) { return o, nil })
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { p.run(ctx) })
	elapse(time.Minute)
	cancel()
	work.Wait()
}

// Schedule that fills the disk: 50,000 rows are sent each second. A purge that rests two
// thirds of its time deletes 33,000.
func TestPurgeKeepsPaceWithWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		sent := func() uint64 { return uint64(50 * time.Since(began).Milliseconds()) } //nolint:gosec // forwards
		o := &oldRows{rows: func() int64 { return int64(sent()) }}                     //nolint:gosec // small
		purgeForAMinute(t, o, sent)
		// Between two rounds is a second, in which 50,000 rows come.
		if n := o.rows() - o.gone.Load(); n > 150_000 {
			t.Errorf("%d sent rows are left after a minute, which grow without end", n)
		}
	})
}

// Old rows of a table that nothing is sent from are deleted without haste.
func TestPurgeRestsWhereNothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oldRows{rows: func() int64 { return math.MaxInt64 }}
		purgeForAMinute(t, o, func() uint64 { return 0 })
		if n, most := o.steps.Load(), int64(time.Minute/(20*time.Millisecond)/(1+purgeRest))+1; n > most {
			t.Errorf("%d steps in a minute, want at most %d", n, most)
		}
	})
}
