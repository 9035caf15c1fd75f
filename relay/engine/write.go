package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// How the marker writes, and finds the rows whose outcomes the server refuses.

// samples is how many rows of a refused batch are tried alone before one is written. If
// all of them are refused, the table takes no outcomes.
const samples = 8

// maxSamples bounds the samples if most rows are locked, because each locked row costs
// a lock timeout. A half costs one timeout, however many rows it has.
const maxSamples = 2 * samples

// write writes as much of a batch as it can. After an error the session cannot be used
// any more.
func (k *marker) write(ctx context.Context, batch []outcome) error {
	wasOpen := k.table.isOpen()
	marks, refusals := byKind(batch)
	for _, part := range [][]outcome{refusals, marks} {
		if k.table.isOpen() && !wasOpen { // the first part has opened it
			k.unwritten = slices.Concat(part, k.unwritten)
			continue
		}
		before := k.written
		left, err := k.try(ctx, part)
		switch {
		case err == nil:
			k.keepLocked(left)
		case errors.Is(err, relay.ErrWriteRefused):
			err = k.divide(ctx, left, err, before)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// try writes outcomes of one kind, and reports those that are settled. It returns the
// others. Without an error, somebody has locked them. With [relay.ErrWriteRefused], the
// server refuses at least one of them. Any other error means that the session has
// failed.
func (k *marker) try(ctx context.Context, part []outcome) ([]outcome, error) {
	if len(part) == 0 {
		return nil, nil
	}
	write := k.mark
	if part[0].refusal != nil {
		write = k.refuse
	}
	settled, err := write(ctx, part)
	if err != nil && !errors.Is(err, relay.ErrWriteRefused) {
		return nil, err
	}
	if len(settled) > 0 {
		k.settled.put(settled...)
		k.committed(len(settled))
	}
	return without(part, settled), err
}

// committed notes that outcomes were written, which shows that the table takes them.
func (k *marker) committed(n int) {
	k.written += uint64(n)
	k.refusals = 0
	if !k.table.isOpen() {
		return
	}
	k.table.close()
	k.blockers = blockers{}
	k.doubtful, k.failed = append(k.doubtful, k.failed...), nil
	k.aside.hurry(time.Now())
}

func (k *marker) mark(ctx context.Context, part []outcome) ([]settlement, error) {
	k.marks, k.marked = k.marks[:0], k.marked[:0]
	for _, o := range part {
		k.marks = append(k.marks, o.mark)
	}
	faultpoint("before-mark")
	refs, err := k.control.Mark(ctx, k.marks)
	faultpoint("after-mark")
	k.sent += uint64(len(refs))
	for _, r := range refs {
		k.marked = append(k.marked, settlement{Ref: r})
	}
	return k.marked, err
}

func (k *marker) refuse(ctx context.Context, part []outcome) ([]settlement, error) {
	refusals := make([]relay.Refusal, len(part))
	for i, o := range part {
		refusals[i] = *o.refusal
	}
	verdicts, err := k.control.Refuse(ctx, k.limit, refusals)
	settled := make([]settlement, len(verdicts))
	for i, v := range verdicts {
		settled[i] = settlement{Ref: v.Ref, fate: v.Fate, attempts: v.Attempts}
	}
	return settled, err
}

// without returns the outcomes that are not settled.
func without(part []outcome, settled []settlement) []outcome {
	if len(settled) == len(part) {
		return nil // nearly always
	}
	done := make(map[relay.Ref]struct{}, len(settled))
	for _, s := range settled {
		done[s.Ref] = struct{}{}
	}
	var left []outcome
	for _, o := range part {
		if _, ok := done[o.ref()]; !ok {
			left = append(left, o)
		}
	}
	return left
}

// refusedOne is a row whose outcome was refused alone.
type refusedOne struct {
	outcome
	err error
}

// divide finds out why the server has refused a batch. If some rows are bad, it sets
// them aside; if no row can be written, it opens the table's breaker. written is how
// many outcomes were committed before the batch was tried.
//
// A row that is refused alone may be a bad row, or a sign of a bad table. In a term
// that has written outcomes, the first few are taken for bad rows, so that one bad row
// of a quiet table stops nothing.
func (k *marker) divide(ctx context.Context, batch []outcome, cause error, written uint64) error {
	if errors.Is(cause, relay.ErrTableLocked) {
		k.awaitTable(batch, cause)
		return nil
	}
	refused, rest, err := k.sample(ctx, batch, cause, written)
	if err != nil {
		return err
	}
	if k.written == written && len(refused) > 0 && (written == 0 || k.refusals+len(refused) >= samples) {
		k.openTable(refused, rest)
		return nil
	}
	if k.written == written {
		k.refusals += len(refused)
	}
	for _, r := range refused {
		k.setAside(r.outcome, r.err)
	}
	return k.halve(ctx, rest)
}

// sample tries rows of a refused batch alone until one is written. It returns those
// that were refused, and those that were not tried.
func (k *marker) sample(ctx context.Context, batch []outcome, cause error, written uint64) (refused []refusedOne, rest []outcome, err error) {
	if len(batch) == 1 { // it was alone
		return []refusedOne{{batch[0], cause}}, nil, nil
	}
	rest = batch
	for tried := 0; len(rest) > 0 && len(refused) < samples && tried < maxSamples && k.written == written; tried++ {
		i := rand.IntN(len(rest)) // bad rows are often neighbours
		one := rest[i]
		rest[i] = rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		left, err := k.try(ctx, []outcome{one})
		switch {
		case errors.Is(err, relay.ErrTableLocked):
			k.awaitTable(append(rest, one), err)
			rest = nil
		case errors.Is(err, relay.ErrWriteRefused):
			refused = append(refused, refusedOne{one, err})
		case err != nil:
			return nil, nil, err
		default:
			k.keepLocked(left)
		}
	}
	return refused, rest, nil
}

// halve writes what can be written of a part and sets the others aside.
func (k *marker) halve(ctx context.Context, part []outcome) error {
	if k.table.isOpen() { // since the other half was tried
		k.failed = append(k.failed, part...)
		return nil
	}
	left, err := k.try(ctx, part)
	switch {
	case errors.Is(err, relay.ErrTableLocked):
		k.awaitTable(left, err)
		return nil
	case err == nil:
		k.keepLocked(left)
		return nil
	case !errors.Is(err, relay.ErrWriteRefused):
		return err
	case len(left) == 1:
		k.setAside(left[0], err)
		return nil
	}
	if err := k.halve(ctx, left[:len(left)/2]); err != nil {
		return err
	}
	return k.halve(ctx, left[len(left)/2:])
}

func (k *marker) setAside(o outcome, err error) {
	k.aside.add(time.Now(), o, err)
	k.settled.put(settlement{Ref: o.ref(), place: setAside, err: err})
}

// openTable keeps what was refused, and what was not tried, until an outcome can be
// written.
func (k *marker) openTable(refused []refusedOne, rest []outcome) {
	k.table.fail(time.Now(), true, refused[0].err)
	for _, r := range refused {
		k.failed = append(k.failed, r.outcome)
	}
	k.unwritten = slices.Concat(rest, k.unwritten)
}

// awaitTable keeps outcomes that cannot be written because somebody has locked the
// whole table. None of their rows is to blame, so none is set aside.
func (k *marker) awaitTable(rows []outcome, err error) {
	k.table.fail(time.Now(), true, err)
	k.failed = append(k.failed, rows...)
}

// retry tries one outcome, or one group of outcomes, that is due again.
func (k *marker) retry(ctx context.Context, now time.Time) error {
	isDue := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	switch {
	case isDue(k.locked.next) && !k.canProbe():
		return k.retryLocked(ctx)
	case isDue(k.aside.next):
		return k.retryAside(ctx, now)
	case len(k.unwritten) > 0:
		return k.probe(ctx, now, &k.unwritten, rand.IntN(len(k.unwritten)), false)
	default:
		return k.probe(ctx, now, &k.failed, rand.IntN(len(k.failed)), false)
	}
}

// canProbe says whether the table's breaker is open and there is a row to try.
func (k *marker) canProbe() bool { return k.table.isOpen() && len(k.unwritten)+len(k.failed) > 0 }

// probe tries the i-th row of a list while the table's breaker is open. isNew says that
// the row was published for this try.
func (k *marker) probe(ctx context.Context, now time.Time, from *[]outcome, i int, isNew bool) error {
	list := *from
	one := list[i]
	list[i] = list[len(list)-1]
	*from = list[:len(list)-1]
	left, err := k.try(ctx, []outcome{one})
	switch {
	case errors.Is(err, relay.ErrWriteRefused):
		k.table.fail(now, isNew, err)
		k.failed = append(k.failed, one)
		return k.lookForBlockers(ctx, now, k.table.since, k.failed)
	case err != nil:
		return err
	default:
		k.keepLocked(left)
		k.table.waits(now)
	}
	return nil
}

// retryAside tries rows that were set aside. If one is written, the others are due too,
// because the obstacle may be gone.
func (k *marker) retryAside(ctx context.Context, now time.Time) error {
	before := k.written
	for _, r := range k.aside.take(now) {
		left, err := k.try(ctx, []outcome{r.outcome})
		switch {
		case errors.Is(err, relay.ErrWriteRefused):
			k.aside.again(now, r, err)
		case err != nil:
			return err
		default:
			k.keepLocked(left)
		}
	}
	if k.written > before {
		k.doubtful = append(k.doubtful, k.aside.takeAll()...) // most of them may be bad still
	}
	return nil
}
