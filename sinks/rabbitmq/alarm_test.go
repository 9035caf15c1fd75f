package rabbitmq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

func setAlarm(t *testing.T, on bool) {
	t.Helper()
	mark := "0.8"
	if on {
		mark = "0.000001"
	}
	ctl(t, "set_vm_memory_high_watermark", mark)
}

func TestMemoryAlarmPausesAndResumes(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("all", "#", nil)
	log := &transcript.Text{}
	o := p.options()
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	reach(t, s)
	expect(t, s, messageTo("a", 1), relay.Acknowledged, "", "")
	t.Cleanup(func() { setAlarm(t, false) })
	setAlarm(t, true)
	// The broker blocks when something is published, so this message waits.
	r := newResults(t)
	s.Publish(messageTo("a", 2), r.report)
	eventually(t, "the alarm is known", func() error {
		if err := probe(t, s); err == nil || !strings.Contains(err.Error(), "blocked by the broker: low on memory") {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	for i := range 100 {
		expect(t, s, messageTo("a", 10+i), relay.Unavailable, relay.ErrorTypeNotReady, "blocked by the broker: low on memory")
	}
	r.mu.Lock()
	if o, reported := r.by[2]; reported {
		t.Errorf("the message in flight was reported during the alarm: %s %q (%v)", o.Class, o.Type, o.Err)
	}
	r.mu.Unlock()
	setAlarm(t, false)
	check(t, messageTo("a", 2), r.await(2), relay.Acknowledged, "", "")
	reach(t, s)
	expect(t, s, messageTo("a", 3), relay.Acknowledged, "", "")
	if stored := take(t, queue); len(stored) != 3 {
		t.Errorf("%d messages are stored, want 3: none that was reported unavailable", len(stored))
	}
	for _, text := range []string{"RabbitMQ has blocked publishing", "RabbitMQ has unblocked publishing"} {
		if n := strings.Count(log.String(), text); n != 1 {
			t.Errorf("%q was logged %d times", text, n)
		}
	}
}

// One message is in flight and none waits to be written, so no outcome tells the relay
// about the alarm.
func TestAlarmIsToldWhileAllIsInFlight(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	s := open(t, p.options())
	reach(t, s)
	if err := s.Paused(); err != nil {
		t.Errorf("before the alarm the sink is paused: %v", err)
	}
	t.Cleanup(func() { setAlarm(t, false) })
	setAlarm(t, true)
	r := newResults(t)
	s.Publish(messageTo("a", 1), r.report)
	eventually(t, "the sink is paused", func() error {
		if err := s.Paused(); err == nil || !strings.Contains(err.Error(), "blocked by the broker: low on memory") {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	r.mu.Lock()
	if len(r.by) > 0 {
		t.Errorf("the message in flight was reported during the alarm: %s", r.last)
	}
	r.mu.Unlock()
	setAlarm(t, false)
	check(t, messageTo("a", 1), r.await(1), relay.Acknowledged, "", "")
	eventually(t, "the sink is not paused", s.Paused)
}

// A whole window is handed over before the broker says that it is blocked. At least one
// message is reported: otherwise the relay would not learn why it waits. The sink
// closes quickly, also during the alarm.
func TestCloseDuringAnAlarm(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	o := p.options()
	o.Window = 256
	s, err := rabbitmq.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	reach(t, s)
	t.Cleanup(func() { setAlarm(t, false) })
	setAlarm(t, true)
	r := newResults(t)
	for i := range o.Window {
		m := messageTo("a", i)
		m.Payload = bytes.Repeat([]byte("x"), 100_000) // more than the sockets take
		s.Publish(m, r.report)
	}
	eventually(t, "a message is reported unavailable", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, o := range r.by {
			if o.Err != nil && strings.Contains(o.Err.Error(), "blocked by the broker") {
				return nil
			}
		}
		return errors.New("none")
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	for i := range o.Window {
		if o := r.await(int64(i)); o.Class != relay.Unknown && o.Class != relay.Unavailable {
			t.Errorf("message %d is %s %q (%v)", i, o.Class, o.Type, o.Err)
		}
	}
}

// A blocked broker does not read, so no message's time passes. A message whose queue is
// slow is not refused during the alarm, nor at its end.
func TestNoTimePassesDuringAnAlarm(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("good", "good", nil)
	resume := suspend(t, p.queue("slow", "slow", nil))
	o := p.options()
	o.Channels, o.AckTimeout = 1, 20*time.Second
	s := open(t, o)
	reach(t, s)
	r := newResults(t)
	began := time.Now()
	s.Publish(messageTo("slow", 1), r.report)
	expect(t, s, messageTo("good", 2), relay.Acknowledged, "", "") // by which the broker is seen to work
	t.Cleanup(func() { setAlarm(t, false) })
	setAlarm(t, true)
	s.Publish(messageTo("good", 3), r.report)
	eventually(t, "the alarm is known", func() error {
		if err := probe(t, s); err == nil || !strings.Contains(err.Error(), "blocked by the broker") {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	eventually(t, "the message would be late without the alarm", func() error {
		if d := time.Since(began); d < o.AckTimeout+time.Second {
			return fmt.Errorf("%v", d)
		}
		return nil
	})
	r.mu.Lock()
	if o, reported := r.by[1]; reported {
		t.Errorf("the message that waits was reported during the alarm: %s %q (%v)", o.Class, o.Type, o.Err)
	}
	r.mu.Unlock()
	setAlarm(t, false)
	check(t, messageTo("good", 3), r.await(3), relay.Acknowledged, "", "")
	resume()
	check(t, messageTo("slow", 1), r.await(1), relay.Acknowledged, "", "")
}
