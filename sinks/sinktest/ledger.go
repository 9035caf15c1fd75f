package sinktest

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// patience bounds every wait of the suite.
const patience = 30 * time.Second

// ledger takes the reports of one test and finds what was reported twice.
type ledger struct {
	t testing.TB

	mu       sync.Mutex
	outcomes map[relay.MessageID]relay.Outcome
	changed  chan struct{} // closed and replaced at each report
}

func newLedger(t testing.TB) *ledger {
	return &ledger{t: t, outcomes: make(map[relay.MessageID]relay.Outcome), changed: make(chan struct{})}
}

// report is the relay.Report of all messages of the test.
func (l *ledger) report(m *relay.Message, o relay.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, twice := l.outcomes[m.MessageID]; twice {
		l.t.Errorf("message %s was reported twice: %s (%v), then %s (%v)", m.MessageID, before.Class, before.Err, o.Class, o.Err)
	}
	if o.Class != relay.Acknowledged && (o.Type == "" || o.Err == nil) {
		l.t.Errorf("message %s: outcome %s has type %q and error %v, want both", m.MessageID, o.Class, o.Type, o.Err)
	}
	l.outcomes[m.MessageID] = o
	close(l.changed)
	l.changed = make(chan struct{})
}

// publish hands messages over.
func (l *ledger) publish(s relay.Sink, messages ...*relay.Message) {
	for _, m := range messages {
		s.Publish(m, l.report)
	}
}

// forget lets a message be reported again, when it is published again.
func (l *ledger) forget(m *relay.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.outcomes, m.MessageID)
}

// await returns the outcome of a message.
func (l *ledger) await(m *relay.Message) relay.Outcome {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		o, ok := l.outcomes[m.MessageID]
		changed := l.changed
		l.mu.Unlock()
		if ok {
			return o
		}
		select {
		case <-changed:
		case <-deadline:
			l.t.Fatalf("message %s to %q was not reported in %s", m.MessageID, m.Topic, patience)
		}
	}
}

// send publishes one message and returns its outcome.
func (l *ledger) send(s relay.Sink, m *relay.Message) relay.Outcome {
	l.t.Helper()
	l.forget(m)
	l.publish(s, m)
	return l.await(m)
}

// want is send with an expectation.
func (l *ledger) want(s relay.Sink, m *relay.Message, class relay.Class, errorType relay.ErrorType) relay.Outcome {
	l.t.Helper()
	o := l.send(s, m)
	l.check(m, o, class, errorType)
	return o
}

func (l *ledger) check(m *relay.Message, o relay.Outcome, class relay.Class, errorType relay.ErrorType) {
	l.t.Helper()
	if o.Class != class || o.Type != errorType {
		l.t.Fatalf("message to %q: %s %q (%v), want %s %q", m.Topic, o.Class, o.Type, o.Err, class, errorType)
	}
}

var lastID atomic.Int64

// message makes a message with an identity of its own.
func message(topic string) *relay.Message {
	m := &relay.Message{
		Topic:       topic,
		Payload:     []byte(`{"n": 1.0}`),
		ContentType: "application/json",
		CreatedAt:   time.Now(),
	}
	m.ID = lastID.Add(1)
	rand.Read(m.MessageID[:8])
	binary.BigEndian.PutUint64(m.MessageID[8:], uint64(m.ID))
	return m
}

func messages(topic string, n int) []*relay.Message {
	all := make([]*relay.Message, n)
	for i := range all {
		all[i] = message(topic)
	}
	return all
}
