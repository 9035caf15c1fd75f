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
	// delays nobody but the mark itself: the key goes on with the acknowledgement.
	markLinger = 3 * time.Millisecond
	// markBatch rows are written at once without lingering, and never more: rows
	// whose mark is not committed fill the window, and one large batch would stop
	// the publishing until all of it is.
	markBatch = 1024
	// lockedMin is the pause before rows that somebody has locked are tried
	// again, doubling up to lockedMax.
	lockedMin = 100 * time.Millisecond
	lockedMax = 2 * time.Second
	// heartbeatEvery keeps the control session from being ended as idle, and
	// bounds how long a leader can believe in a session that is gone.
	heartbeatEvery = time.Second
)

// marker writes outcomes in batches. It owns the control session while a term
// lasts, so it also sends the heartbeat: a leader whose control session fails
// learns it here, from run's error.
//
// A row that somebody has locked is left out by the session and tried again by
// itself, so that it stops no other row's outcome.
type marker struct {
	control  relay.Control
	limit    relay.AttemptLimit
	marks    *mailbox[relay.Mark]
	refusals *mailbox[relay.Refusal]
	settled  *mailbox[settlement]

	// countStandbys asks for standbys, which is as of the last heartbeat.
	countStandbys atomic.Bool
	standbys      atomic.Int64

	unwritten     []relay.Mark // taken from the mailbox, over the size of a batch
	locked        outcomes     // left out by the last writes
	lockedRetries int          // in a row
	retry         *time.Timer
}

func newMarker(c relay.Control, limit relay.AttemptLimit) *marker {
	return &marker{
		control:  c,
		limit:    limit,
		marks:    newMailbox[relay.Mark](),
		refusals: newMailbox[relay.Refusal](),
		settled:  newMailbox[settlement](),
	}
}

// run writes until stop is closed or ctx ends, then returns nil, or until the
// control session fails, then returns why. A stop leaves the session usable; a
// ctx that ends in the middle of a write does not.
func (k *marker) run(ctx context.Context, stop <-chan struct{}) error {
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	k.retry = time.NewTimer(time.Hour)
	defer k.retry.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil
		default:
		}
		batch, err := k.await(ctx, stop, heartbeat.C)
		if err == nil {
			err = k.write(ctx, batch)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// await returns the next batch, or an empty one after a heartbeat or a stop.
func (k *marker) await(ctx context.Context, stop <-chan struct{}, heartbeat <-chan time.Time) (outcomes, error) {
	if len(k.unwritten) > 0 {
		return outcomes{marks: k.cutBatch()}, nil
	}
	select {
	case <-stop:
		return outcomes{}, nil
	case <-ctx.Done():
		return outcomes{}, nil
	case <-heartbeat:
		if err := k.beat(ctx); err != nil {
			return outcomes{}, fmt.Errorf("keep control session alive: %w", err)
		}
		return outcomes{}, nil
	case <-k.retry.C:
		batch := k.locked
		k.locked = outcomes{}
		k.lockedRetries++
		return batch, nil
	case <-k.refusals.ready:
		return outcomes{refusals: k.refusals.take()}, nil
	case <-k.marks.ready:
		return outcomes{marks: k.linger(ctx)}, nil
	}
}

// beat is one round trip, whose answer may be of use.
func (k *marker) beat(ctx context.Context) error {
	if !k.countStandbys.Load() {
		k.standbys.Store(0)
		return k.control.Heartbeat(ctx)
	}
	n, err := k.control.Standbys(ctx)
	k.standbys.Store(int64(n))
	return err
}

// linger gives a batch of marks a few milliseconds to fill.
func (k *marker) linger(ctx context.Context) []relay.Mark {
	k.unwritten = append(k.unwritten, k.marks.take()...)
	timer := time.NewTimer(markLinger)
	defer timer.Stop()
	for len(k.unwritten) < markBatch {
		select {
		case <-k.marks.ready:
			k.unwritten = append(k.unwritten, k.marks.take()...)
			continue
		case <-timer.C:
		case <-ctx.Done():
		}
		break
	}
	return k.cutBatch()
}

// cutBatch takes the next batch from what is unwritten.
func (k *marker) cutBatch() []relay.Mark {
	n := min(markBatch, len(k.unwritten))
	batch := k.unwritten[:n]
	k.unwritten = k.unwritten[n:]
	if len(k.unwritten) == 0 {
		k.unwritten = nil
	}
	return batch
}

// write commits a batch, reports what is settled and keeps what is locked.
func (k *marker) write(ctx context.Context, batch outcomes) error {
	if batch.empty() {
		return nil
	}
	var lockedOut outcomes
	var err error
	if lockedOut.refusals, err = k.refuse(ctx, batch.refusals); err != nil {
		return err
	}
	if lockedOut.marks, err = k.mark(ctx, batch.marks); err != nil {
		return err
	}
	k.keepLocked(lockedOut)
	return nil
}

// refuse writes refusals and returns those whose rows somebody has locked.
func (k *marker) refuse(ctx context.Context, refusals []relay.Refusal) ([]relay.Refusal, error) {
	if len(refusals) == 0 {
		return nil, nil
	}
	verdicts, err := k.control.Refuse(ctx, k.limit, refusals)
	if err != nil {
		return nil, fmt.Errorf("write refusals: %w", err)
	}
	settled := make([]settlement, len(verdicts))
	for i, v := range verdicts {
		settled[i] = settlement{Ref: v.Ref, fate: v.Fate, attempts: v.Attempts}
	}
	k.settled.put(settled...)
	return without(refusals, settled, func(r relay.Refusal) relay.Ref { return r.Ref }), nil
}

// mark marks rows and returns those that somebody has locked.
func (k *marker) mark(ctx context.Context, marks []relay.Mark) ([]relay.Mark, error) {
	if len(marks) == 0 {
		return nil, nil
	}
	faultpoint("before-mark")
	refs, err := k.control.Mark(ctx, marks)
	if err != nil {
		return nil, fmt.Errorf("mark rows sent: %w", err)
	}
	faultpoint("after-mark")
	settled := make([]settlement, len(refs))
	for i, r := range refs {
		settled[i] = settlement{Ref: r}
	}
	k.settled.put(settled...)
	return without(marks, settled, func(m relay.Mark) relay.Ref { return m.Ref }), nil
}

// without returns the items whose row is not settled.
func without[T any](items []T, settled []settlement, ref func(T) relay.Ref) []T {
	if len(settled) == len(items) {
		return nil // nearly always
	}
	done := make(map[relay.Ref]struct{}, len(settled))
	for _, s := range settled {
		done[s.Ref] = struct{}{}
	}
	var left []T
	for _, item := range items {
		if _, ok := done[ref(item)]; !ok {
			left = append(left, item)
		}
	}
	return left
}

// keepLocked keeps what the session left out, and sets the time to try again.
func (k *marker) keepLocked(lockedOut outcomes) {
	waiting := !k.locked.empty()
	k.locked.marks = append(k.locked.marks, lockedOut.marks...)
	k.locked.refusals = append(k.locked.refusals, lockedOut.refusals...)
	switch {
	case k.locked.empty():
		k.lockedRetries = 0
	case !waiting: // so no retry is set
		k.retry.Reset(Backoff{lockedMin, lockedMax}.ceiling(k.lockedRetries + 1))
	}
}
