package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Timing and size of the marker's batches.
const (
	// markLinger is how long the first outcome of a batch waits for others. It
	// delays nobody but the mark itself: the key goes on with the acknowledgement. Each
	// mark keeps PostgreSQL from decoding for a moment what was inserted meanwhile, which
	// shows in the latency of new rows, so there are few.
	markLinger = 30 * time.Millisecond
	// crowdedLinger is for when other rows wait until these are marked.
	crowdedLinger = 3 * time.Millisecond
	// markBatch rows are written at once without lingering, and never more. Rows whose
	// mark is not committed fill the window, so one large batch would stop the
	// publishing until all of it is committed.
	markBatch = 512
	// heartbeatEvery keeps the control session from being ended as idle, and
	// bounds how long a leader can believe in a session that is gone.
	heartbeatEvery = time.Second
)

// marker writes outcomes in batches. It owns the control session while a term
// lasts, so it also sends the heartbeat: a leader whose control session fails
// learns it here, from run's error.
//
// The session leaves out a row that somebody has locked. That row is tried again
// separately, so that it delays no other row's outcome. The same happens to a row whose
// outcome the server refuses. If the server refuses all outcomes, the table's breaker
// opens.
type marker struct {
	control relay.Control
	limit   relay.AttemptLimit
	markerPorts
	backlog

	note     relay.Note
	refusals int // how many single rows were set aside since an outcome was last committed
	table    tableBreaker
	aside    unmarkable
	locked   lockedRows
	blockers blockers
	// timer is for what is due; lingering is for linger.
	timer, lingering *time.Timer
	// marks and marked are memory that each batch uses again.
	marks  []relay.Mark
	marked []settlement
}

// markerPorts are the channels and fields between the loop and the marker.
type markerPorts struct {
	outcomes *mailbox[outcome]
	settled  *mailbox[settlement]

	// countStandbys makes each heartbeat count the standbys.
	countStandbys atomic.Bool
	standbys      atomic.Int64
	// told is for the loop; changed has an element when the table's breaker has opened,
	// closed, or tried a row.
	told    atomic.Pointer[writing]
	changed chan struct{}
	// crowded is what the loop has told; crowding has an element when it has become true.
	crowded  atomic.Bool
	crowding chan struct{}
}

// backlog is the outcomes that have come and are not written.
type backlog struct {
	received  uint64    // outcomes taken from the mailbox
	written   uint64    // outcomes committed
	sent      uint64    // of these, marks
	unwritten []outcome // not tried yet
	room      []outcome // empty: the memory of unwritten, for when all is written
	// failed are the outcomes that the server has refused since the table's breaker
	// opened. doubtful are those that are left when the breaker has closed.
	failed, doubtful []outcome
}

// writing is the marker's state, as the loop sees it.
type writing struct {
	table      tableBreaker
	received   uint64
	written    uint64
	sent       uint64
	unmarkable []relay.UnmarkableRow // the first ones
	locked     time.Time             // when rows were first locked; zero while none is
	note       relay.Note
	blockers   []relay.Blocker
}

func newMarker(c relay.Control, limit relay.AttemptLimit, note relay.Note) *marker {
	k := &marker{control: c, limit: limit, note: note}
	k.outcomes, k.settled = newBatchMailbox[outcome](markBatch), newMailbox[settlement]()
	k.changed, k.crowding = make(chan struct{}, 1), make(chan struct{}, 1)
	k.tell()
	return k
}

// tell publishes the marker's state for the loop.
func (k *marker) tell() {
	before := k.told.Load()
	k.told.Store(&writing{
		table: k.table, received: k.received, written: k.written, sent: k.sent, unmarkable: k.aside.told(),
		locked: k.locked.since, blockers: k.blockers.found, note: k.note,
	})
	if before != nil && before.table.last.Equal(k.table.last) {
		return
	}
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// run writes until stop is closed or ctx ends, and returns nil. If the control session
// fails, it returns why. After a stop the session can still be used; if ctx ends in the
// middle of a write, it cannot.
func (k *marker) run(ctx context.Context, stop <-chan struct{}) error {
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	k.timer, k.lingering = time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer k.timer.Stop()
	defer k.lingering.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil
		default:
		}
		err := k.turn(ctx, stop, heartbeat.C)
		k.tell()
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// turn does the next thing: it writes, sends a heartbeat, or waits until one of them is
// due.
func (k *marker) turn(ctx context.Context, stop <-chan struct{}, heartbeat <-chan time.Time) error {
	now := time.Now()
	if worked, err := k.work(ctx, now); worked {
		return err
	}
	k.timer.Reset(time.Hour)
	if due := k.dueAt(); !due.IsZero() {
		k.timer.Reset(due.Sub(now))
	}
	select {
	case <-stop:
	case <-ctx.Done():
	case <-heartbeat:
		if err := k.beat(ctx); err != nil {
			return fmt.Errorf("keep control session alive: %w", err)
		}
	case <-k.timer.C:
	case <-k.outcomes.ready:
		k.linger(ctx)
		return k.probeNewest(ctx)
	}
	return nil
}

// work writes the outcomes that are there, or tries again those that are due, and says
// whether there were any.
func (k *marker) work(ctx context.Context, now time.Time) (worked bool, err error) {
	due := k.dueAt()
	switch {
	case !due.IsZero() && !due.After(now):
		return true, k.retry(ctx, now)
	case k.table.isOpen():
	case len(k.doubtful) > 0:
		return true, k.halve(ctx, cutBatch(&k.doubtful))
	case len(k.unwritten) > 0:
		return true, k.write(ctx, cutBatch(&k.unwritten))
	}
	return false, nil
}

// probeNewest is for the time while the table's breaker is open. Then a row is
// published to see whether its outcome can be written, and probeNewest tries to write
// it. The mailbox may wake the marker without a row.
func (k *marker) probeNewest(ctx context.Context) error {
	if !k.table.isOpen() || len(k.unwritten) == 0 {
		return nil
	}
	return k.probe(ctx, time.Now(), &k.unwritten, len(k.unwritten)-1, true)
}

// beat sends the heartbeat; the answer may have the number of standbys.
func (k *marker) beat(ctx context.Context) error {
	var err error
	if k.note, err = k.control.Note(ctx); err != nil || !k.countStandbys.Load() {
		k.standbys.Store(0)
		return err
	}
	n, err := k.control.Standbys(ctx)
	k.standbys.Store(int64(n))
	return err
}

// crowd tells the marker whether rows wait for room in the window, or for the relay's end. It
// is safe for any goroutine.
func (k *marker) crowd(crowded bool) {
	if k.crowded.Swap(crowded) != crowded && crowded {
		signal(k.crowding)
	}
}

// linger gives a batch time to fill, and receives it. Outcomes that come meanwhile do not wake
// the marker.
func (k *marker) linger(ctx context.Context) {
	if !k.table.isOpen() && !k.lingers(ctx, crowdedLinger, nil) && !k.crowded.Load() {
		k.lingers(ctx, markLinger-crowdedLinger, k.crowding)
	}
	k.take()
}

// lingers waits, and says whether something other than the time has ended it.
func (k *marker) lingers(ctx context.Context, d time.Duration, crowding <-chan struct{}) (ended bool) {
	k.lingering.Reset(d)
	select {
	case <-k.lingering.C:
		return false
	case <-k.outcomes.full:
	case <-crowding:
	case <-ctx.Done():
	}
	return true
}

func (k *marker) take() {
	came := k.outcomes.take()
	k.received += uint64(len(came))
	if len(k.unwritten) == 0 {
		k.unwritten = k.room
	}
	k.unwritten = append(k.unwritten, came...)
	k.room = k.unwritten[:0]
}

// cutBatch takes the next batch from what is unwritten.
func cutBatch(unwritten *[]outcome) []outcome {
	n := min(markBatch, len(*unwritten))
	batch := (*unwritten)[:n:n]
	*unwritten = (*unwritten)[n:]
	if len(*unwritten) == 0 {
		*unwritten = nil
	}
	return batch
}

// dueAt returns when something has to be tried again; the zero time means never.
func (k *marker) dueAt() time.Time {
	if k.canProbe() {
		return earlier(k.aside.next, k.table.retryAt())
	}
	return earlier(k.aside.next, k.locked.next)
}

// earlier returns the earlier of two times. The zero time means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
