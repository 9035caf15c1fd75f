package engine

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// readLog is a log that was recorded, of which an event comes with each tick.
type readLog struct {
	relay.Tail
	events []relay.TailEvent
	tick   *time.Ticker
}

func (l *readLog) Start(context.Context) error { return nil }
func (l *readLog) Close()                      {}

func (l *readLog) Next(context.Context) (relay.TailEvent, error) {
	if len(l.events) == 0 {
		return relay.TailEvent{}, io.EOF
	}
	<-l.tick.C
	ev := l.events[0]
	l.events = l.events[1:]
	return ev, nil
}

// Each row comes, but the positions at the ends of transactions come ten times a second at
// most.
func TestLoopIsNotWokenForTheEndOfEachTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &readLog{tick: time.NewTicker(time.Millisecond)}
		defer log.tick.Stop()
		const transactions = 500
		for i := range transactions {
			at := wal.LSN(10 * i)
			log.events = append(log.events, relay.TailEvent{Position: at, Message: &relay.Message{Size: 1}}, relay.TailEvent{Position: at + 1})
		}
		s := newStream(func() {}, 1<<20)
		close(s.begin)
		go s.run(t.Context(), func(context.Context) (relay.Tail, error) { return log, nil })
		rows, positions := 0, 0
		for rows < transactions {
			ev := <-s.events
			s.taken(ev)
			if ev.Message != nil {
				rows++
				continue
			}
			positions++
		}
		if positions != 10 { // in a second
			t.Errorf("%d positions without a row, want 10", positions)
		}
		for step := range s.steps {
			if step.kind == streamEnded {
				return
			}
		}
	})
}
