package engine

import (
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What the loop does with what the stream of the log says.

// Names of faults in the log.
const (
	faultTail       = "the write-ahead log cannot be read, polling instead"
	faultReconciled = "rows were found that the write-ahead log had not told of"
)

// tailSteps is nil, so that a select passes over it, while there is no stream.
func (t *term) tailSteps() <-chan streamStep {
	if t.tail.stream == nil {
		return nil
	}
	return t.tail.stream.steps
}

// tailEvents is nil while the log is not to be read.
func (t *term) tailEvents() <-chan relay.TailEvent {
	if !t.tail.readable(time.Now(), t.breaker.open || t.stopping) {
		return nil
	}
	return t.tail.stream.events
}

// eventsPerTurn bounds what one turn of the loop takes from the stream.
const eventsPerTurn = 64

// follow takes in an event, and those that are there already.
func (t *term) follow(ev relay.TailEvent) {
	now := time.Now()
	s := t.tail.stream
	s.taken(ev)
	t.tail.read(ev, now)
	for more := eventsPerTurn - 1; more > 0 && t.tail.readable(now, false); more-- {
		select {
		case ev = <-s.events:
			s.taken(ev)
			t.tail.read(ev, now)
		default:
			more = 0
		}
	}
	t.reconciled()
}

func (t *term) stepped(step streamStep) {
	before := t.tail.phase
	t.tail.stepped(step, time.Now())
	if t.tail.reads() && before != t.tail.phase {
		t.faults.recovered(faultTail)
		t.log.Info("tailing", slog.String("mode", relay.Tailing.String()), slog.String("slot", t.tail.stream.tail.Slot()))
	}
}

// reconciled tells of rows that the tail has missed.
func (t *term) reconciled() {
	if t.tail.reconciled == 0 {
		return
	}
	t.count.Reconciled += uint64(t.tail.reconciled)
	t.faults.report(faultReconciled, slog.Int("rows", t.tail.reconciled))
	t.tail.reconciled = 0
}
