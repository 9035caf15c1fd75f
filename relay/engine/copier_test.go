package engine

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Schedule that blames the innocent: a message was with the sink at two losses, and is
// tried alone. Beside it a copy of the row that does end connections is with the broker.
// The connection is lost, and the attempt is counted against the wrong one.
func TestSuspectWaitsForACopy(t *testing.T) {
	d := newDispatcher(limits{window: 4, windowBytes: 1 << 20, chain: 4}, OrderByKey)
	d.add(&item{Message: &relay.Message{Ref: relay.Ref{ID: 1}}})
	suspect := func(relay.Ref) bool { return true }
	noLane := func(*relay.Message) relay.Lane { return relay.Lane{} }
	d.beside = true
	if m := d.next(suspect, noLane); m != nil {
		t.Errorf("row %d goes beside a copy", m.ID)
	}
	d.beside = false
	if m := d.next(suspect, noLane); m == nil || !d.alone {
		t.Error("the suspect does not go alone once the copy is reported")
	}
}

// The suspect goes as soon as the copy is reported, and not when the loop turns anyway.
func TestReportOfACopyWakesTheLoop(t *testing.T) {
	var report relay.Report
	sink := publisher(func(_ *relay.Message, r relay.Report) { report = r })
	loop := newTerm(New(Config{Sink: sink, Logger: slog.New(slog.DiscardHandler), Limits: Limits{MaxInFlight: 4}}), nil)
	m := &relay.Message{}
	loop.publishCopy(m, time.Now())
	if len(loop.copier.over) > 0 || !loop.copier.out.Load() {
		t.Fatal("the copy is reported before the sink reports it")
	}
	report(m, relay.Outcome{Class: relay.Acknowledged})
	if len(loop.copier.over) != 1 || loop.copier.out.Load() {
		t.Error("the loop is not woken")
	}
}

// publisher is a sink that only publishes.
type publisher func(*relay.Message, relay.Report)

func (p publisher) Publish(m *relay.Message, r relay.Report) { p(m, r) }
func (publisher) MaxMessageBytes() int64                     { return 0 }
func (publisher) Probe(context.Context) error                { return nil }
func (publisher) Close(context.Context) error                { return nil }

// letterbox is dead rows, told in the dumbest way. It stands for a session only where time
// has to be made up; what the statements do is tested on PostgreSQL.
type letterbox struct {
	mu         sync.Mutex
	dead       int64              // rows from id 1 on
	owed       map[int64]struct{} // those without a copy
	locked     map[int64]struct{}
	statements int
	slow       time.Duration // of a look at rows
	published  map[int64]int // copies of each row
}

func (b *letterbox) Owed(_ context.Context, after int64, rows int) (owed []relay.Ref, cursor int64, end bool, err error) {
	<-time.After(b.slow)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.statements++
	after = max(0, after)
	cursor = min(after+int64(rows), b.dead)
	for id := after + 1; id <= cursor; id++ {
		if _, owes := b.owed[id]; owes {
			owed = append(owed, relay.Ref{ID: id})
		}
	}
	return owed, cursor, cursor == b.dead, nil
}

func (b *letterbox) Letter(_ context.Context, r relay.Ref, _ int64) (relay.DeadLetter, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, owes := b.owed[r.ID]
	return relay.DeadLetter{Ref: r, Topic: "orders", DeadAt: time.Unix(r.ID, 0)}, owes, nil
}

func (b *letterbox) Copied(_ context.Context, d relay.DeadLetter) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, locked := b.locked[d.ID]; locked {
		return false, nil
	}
	delete(b.owed, d.ID)
	return true, nil
}

func (*letterbox) Close() {}

// die has a row owe a copy.
func (b *letterbox) die(id int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owed[id] = struct{}{}
}

// publish counts a copy.
func (b *letterbox) publish(t *testing.T, m *relay.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range m.Headers {
		if h.Name == "Outbox-Origin-Id" {
			b.published[idOf(t, h.Value)]++
		}
	}
}

// unlock ends all locks.
func (b *letterbox) unlock() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.locked = nil
}

// copies returns how often each row was copied, by row.
func (b *letterbox) copies() map[int64]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.published)
}

// owing returns the rows that owe a copy.
func (b *letterbox) owing() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.owed))
}

// looks returns how many statements have looked at rows.
func (b *letterbox) looks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.statements
}

// copying runs a copier on the letterbox, and acknowledges all copies.
func copying(t *testing.T, b *letterbox) *copier {
	b.published = make(map[int64]int)
	c := newCopier("dead", func() int64 { return 0 }, func(context.Context) (relay.DeadLetters, error) { return b, nil })
	ctx, cancel := context.WithCancel(t.Context())
	go c.run(ctx)
	go func() {
		for {
			select {
			case m := <-c.offers:
				b.publish(t, m)
				c.outcomes <- relay.Outcome{Class: relay.Acknowledged}
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(cancel)
	return c
}

// Somebody has a dead row locked for an hour. Its copy goes out once, and that is noted
// when the lock is gone.
func TestCopyOfALockedRowIsPublishedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &letterbox{dead: 3, owed: set(1, 2, 3), locked: set(2)}
		copying(t, b)
		elapse(time.Hour)
		if n := b.copies(); n[1] != 1 || n[2] != 1 || n[3] != 1 {
			t.Errorf("copies by row: %v, want one of each", n)
		}
		b.unlock()
		elapse(time.Minute)
		if owe, n := b.owing(), b.copies(); len(owe) > 0 || n[2] != 1 {
			t.Errorf("after the lock: rows %v owe a copy, copies by row: %v", owe, n)
		}
	})
}

// A row that dies is copied at once, and costs no look at all dead rows, which are never
// looked at without a pause.
func TestDeathsBesideManyDeadRowsAreCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many, deaths = 200_000, 600
		b := &letterbox{dead: many, owed: map[int64]struct{}{}, slow: 10 * time.Millisecond}
		c := copying(t, b)
		elapse(time.Minute)
		before := b.looks()
		for i := int64(1); i <= deaths; i++ {
			b.die(i)
			c.deaths.add(relay.Ref{ID: i})
			elapse(time.Second / 2)
		}
		synctest.Wait()
		// A look takes 200 statements, and five times as long as these.
		if n := b.looks() - before; n > 10*many/copyRows {
			t.Errorf("%d statements in five minutes", n)
		}
		elapse(2 * time.Minute)
		if owe, n := b.owing(), b.copies(); len(owe) > 0 || len(n) != deaths {
			t.Errorf("%d rows owe a copy, %d were copied", len(owe), len(n))
		}
	})
}

// A death is copied at once where the copier has nothing else to do.
func TestDeathIsCopiedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &letterbox{dead: 10, owed: map[int64]struct{}{}}
		c := copying(t, b)
		elapse(copyEvery + time.Second)
		b.die(7)
		c.deaths.add(relay.Ref{ID: 7})
		synctest.Wait()
		if b.copies()[7] != 1 {
			t.Error("it waits for the next look at all dead rows")
		}
	})
}

func set(ids ...int64) map[int64]struct{} {
	s := make(map[int64]struct{})
	for _, id := range ids {
		s[id] = struct{}{}
	}
	return s
}

func idOf(t *testing.T, text string) int64 {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Error(err)
	}
	return id
}
