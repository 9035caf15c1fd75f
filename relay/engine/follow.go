package engine

import (
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What the loop does with events of the log.

// Names of faults in the log.
const (
	faultTail       = "the write-ahead log cannot be read, polling instead"
	faultReconciled = "rows were found that the write-ahead log has missed"
)

// eventsPerTurn bounds what one turn of the loop takes from the stream.
const eventsPerTurn = 64

// follow handles an event of the log, and those that have come since.
func (t *term) follow(ev relay.TailEvent) {
	now := time.Now()
	tail := t.tailing.tail
	tail.stream.taken(ev)
	tail.read(ev, now)
	for more := eventsPerTurn - 1; more > 0 && tail.readable(false); more-- {
		select {
		case ev = <-tail.stream.events:
			tail.stream.taken(ev)
			tail.read(ev, now)
		default:
			more = 0
		}
	}
	t.reconciled()
}

func (t *term) stepped(step streamStep) {
	read := t.tailing.reads()
	t.tailing.stepped(step, time.Now())
	if t.tailing.reads() && !read {
		t.faults.recovered(faultTail)
		t.log.Info("tailing", slog.String("mode", relay.Tailing.String()), slog.String("slot", t.tailing.tail.stream.tail.Slot()))
	}
}

// reconciled counts and logs the rows that the log has missed.
func (t *term) reconciled() {
	if missed := t.tailing.takeMissed(); missed > 0 {
		t.count.Reconciled += uint64(missed)
		t.faults.report(faultReconciled, slog.Int("rows", missed))
	}
}
