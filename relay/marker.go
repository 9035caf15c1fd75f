package relay

import (
	"context"
	"fmt"
	"time"
)

// Timing and size of the marker's batches.
const (
	// markLinger is how long the first outcome of a batch waits for others. It
	// delays nobody but the mark itself: the key goes on with the acknowledgement.
	markLinger = 3 * time.Millisecond
	// markBatch rows are written at once without lingering.
	markBatch = 2048
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
	control  Control
	limit    AttemptLimit
	marks    *mailbox[Mark]
	refusals *mailbox[Refusal]
	settled  *mailbox[settlement]

	locked        outcomes // left out by the last writes
	lockedRetries int      // in a row
	retry         *time.Timer
}

// outcomes is a batch to write.
type outcomes struct {
	marks    []Mark
	refusals []Refusal
}

func (o outcomes) empty() bool { return len(o.marks)+len(o.refusals) == 0 }

// settlement says that the outcome of a row is committed. Its fate is 0 for a
// row that was marked.
type settlement struct {
	Ref
	fate     Fate
	attempts int
}

func newMarker(c Control, limit AttemptLimit) *marker {
	return &marker{
		control:  c,
		limit:    limit,
		marks:    newMailbox[Mark](),
		refusals: newMailbox[Refusal](),
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
	select {
	case <-stop:
		return outcomes{}, nil
	case <-ctx.Done():
		return outcomes{}, nil
	case <-heartbeat:
		if err := k.control.Heartbeat(ctx); err != nil {
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

// linger gives a batch of marks a few milliseconds to fill.
func (k *marker) linger(ctx context.Context) []Mark {
	marks := append([]Mark(nil), k.marks.take()...)
	timer := time.NewTimer(markLinger)
	defer timer.Stop()
	for len(marks) < markBatch {
		select {
		case <-k.marks.ready:
			marks = append(marks, k.marks.take()...)
		case <-timer.C:
			return marks
		case <-ctx.Done():
			return marks
		}
	}
	return marks
}

// write commits a batch, reports what is settled and keeps what is locked.
func (k *marker) write(ctx context.Context, batch outcomes) error {
	if batch.empty() {
		return nil
	}
	done := make(map[Ref]struct{}, len(batch.marks)+len(batch.refusals))
	if err := k.refuse(ctx, batch.refusals, done); err != nil {
		return err
	}
	if err := k.mark(ctx, batch.marks, done); err != nil {
		return err
	}
	k.keepLocked(batch, done)
	return nil
}

func (k *marker) refuse(ctx context.Context, refusals []Refusal, done map[Ref]struct{}) error {
	if len(refusals) == 0 {
		return nil
	}
	verdicts, err := k.control.Refuse(ctx, k.limit, refusals)
	if err != nil {
		return fmt.Errorf("write refusals: %w", err)
	}
	settled := make([]settlement, 0, len(verdicts))
	for _, v := range verdicts {
		done[v.Ref] = struct{}{}
		settled = append(settled, settlement{Ref: v.Ref, fate: v.Fate, attempts: v.Attempts})
	}
	k.settled.put(settled...)
	return nil
}

func (k *marker) mark(ctx context.Context, marks []Mark, done map[Ref]struct{}) error {
	if len(marks) == 0 {
		return nil
	}
	faultpoint("before-mark")
	refs, err := k.control.Mark(ctx, marks)
	if err != nil {
		return fmt.Errorf("mark rows sent: %w", err)
	}
	faultpoint("after-mark")
	settled := make([]settlement, 0, len(refs))
	for _, r := range refs {
		done[r] = struct{}{}
		settled = append(settled, settlement{Ref: r})
	}
	k.settled.put(settled...)
	return nil
}

// keepLocked keeps what the session left out, and sets the time to try again.
func (k *marker) keepLocked(batch outcomes, done map[Ref]struct{}) {
	before := len(k.locked.marks) + len(k.locked.refusals)
	if len(done) < len(batch.marks)+len(batch.refusals) {
		for _, m := range batch.marks {
			if _, ok := done[m.Ref]; !ok {
				k.locked.marks = append(k.locked.marks, m)
			}
		}
		for _, r := range batch.refusals {
			if _, ok := done[r.Ref]; !ok {
				k.locked.refusals = append(k.locked.refusals, r)
			}
		}
	}
	switch {
	case k.locked.empty():
		k.lockedRetries = 0
	case before == 0: // nothing was waiting, so no retry is set
		k.retry.Reset(Backoff{lockedMin, lockedMax}.ceiling(k.lockedRetries + 1))
	}
}
