package sinktest

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Measure runs a function that publishes b.N messages. It reports their rate, and this
// process's processor time for each message, which tells more if the broker or other
// programs share the processors.
func Measure(b *testing.B, publish func()) {
	b.Helper()
	b.ReportAllocs()
	before := processorTime(b)
	b.ResetTimer()
	publish()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// PublishAll publishes b.N messages, with a window of them outstanding at any time, in
// lanes where the sink has them. It returns when all are reported, and each has to be
// acknowledged.
func PublishAll(b *testing.B, s relay.Sink, window int, message func(i int) *relay.Message) {
	b.Helper()
	slots := make(chan struct{}, window)
	var failed atomic.Int64
	report := func(_ *relay.Message, o relay.Outcome) {
		if o.Class != relay.Acknowledged && failed.Add(1) == 1 {
			b.Errorf("first failure: %s %q (%v)", o.Class, o.Type, o.Err)
		}
		<-slots
	}
	laned, _ := s.(relay.Laned)
	for i := range b.N {
		select {
		case slots <- struct{}{}:
		default: // the window is full
			if laned != nil {
				laned.Flush()
			}
			slots <- struct{}{}
		}
		HandOver(s, message(i), report)
	}
	if laned != nil {
		laned.Flush()
	}
	for range window {
		slots <- struct{}{}
	}
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d messages failed", n)
	}
}

// HandOver publishes a message in the lane that it joins, or in none.
func HandOver(s relay.Sink, m *relay.Message, report relay.Report) {
	if laned, ok := s.(relay.Laned); ok {
		if l := laned.Lane(m); l != (relay.Lane{}) {
			laned.PublishIn(l, m, report)
			return
		}
	}
	s.Publish(m, report)
}
