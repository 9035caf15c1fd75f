package sinktest

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// down waits until the sink knows that it has no connection. It publishes
// nothing.
func (f *fixture) down(s relay.Sink) {
	f.Helper()
	eventually(f, "a probe that fails", func() bool { return f.probe(f.Context(), s) != nil })
}

func survivesStop(f *fixture) {
	s := f.openUnclosed(SinkOptions{})
	f.reach(s)
	topic := f.broker.Topics().Good
	var want []string
	acknowledged := func() {
		m := message(topic)
		f.want(s, m, relay.Acknowledged, "")
		want = append(want, m.MessageID.String())
	}
	acknowledged()
	for range 3 {
		f.broker.Stop(f)
		f.down(s)
		for _, m := range messages(topic, window) {
			f.want(s, m, relay.Unavailable, relay.ErrorTypeDisconnected)
		}
		f.broker.Restart(f)
		f.reach(s)
		acknowledged()
	}
	f.close(s) // whatever it still had to say is said
	if got := f.ids(topic); !slices.Equal(got, want) {
		f.Errorf("%d messages are stored and %d were acknowledged: some that were reported unavailable were sent later", len(got), len(want))
	}
}

func findsLateBroker(f *fixture) {
	f.broker.Stop(f)
	s := f.open(SinkOptions{})
	topic := f.broker.Topics().Good
	err := f.probe(f.Context(), s)
	_, port, _ := net.SplitHostPort(f.broker.Addr())
	if err == nil || !strings.Contains(err.Error(), port) {
		f.Errorf("probe says %v, want an error with the broker's address", err)
	}
	f.want(s, message(topic), relay.Unavailable, relay.ErrorTypeDisconnected)
	f.broker.Restart(f)
	f.reach(s)
	f.want(s, message(topic), relay.Acknowledged, "")
}

func survivesLostAcknowledgement(f *fixture) {
	proxy := f.proxy()
	s := f.ready(SinkOptions{Addr: proxy.Addr()})
	topic := f.broker.Topics().Good
	proxy.StallReplies(true)
	lost := messages(topic, 10)
	f.publish(s, lost...)
	eventually(f, "all messages stored", func() bool { return len(f.ids(topic)) == len(lost) })
	eventually(f, "an acknowledgement held back", func() bool { return proxy.HeldReplies() > 0 })
	proxy.Cut()
	proxy.StallReplies(false)
	for _, m := range lost {
		f.check(m, f.await(m), relay.Unknown, relay.ErrorTypeDisconnected)
	}
	f.reach(s)
	for _, m := range lost {
		o := f.want(s, m, relay.Acknowledged, "")
		if n := len(f.ids(topic)); o.Duplicate != (n == len(lost)) {
			f.Fatalf("duplicate is %v with %d copies of %d messages stored", o.Duplicate, n, len(lost))
		}
	}
}

func survivesHalfOpen(f *fixture) {
	proxy := f.proxy()
	s := f.ready(SinkOptions{Addr: proxy.Addr(), AckTimeout: shortAck})
	topic := f.broker.Topics().Good
	proxy.Stall(true)
	lost := messages(topic, 10)
	f.publish(s, lost...)
	for _, m := range lost {
		f.check(m, f.await(m), relay.Unknown, relay.ErrorTypeUnresponsive)
	}
	f.down(s)
	proxy.Stall(false)
	f.reach(s)
	f.want(s, message(topic), relay.Acknowledged, "")
}

func survivesPoison(f *fixture) {
	proxy := f.proxy()
	s := f.ready(SinkOptions{Addr: proxy.Addr()})
	topic := f.broker.Topics().Good
	poison := message(topic)
	poison.Payload = []byte("this one kills connections")
	proxy.CutOn(poison.Payload)
	for range 3 {
		f.want(s, poison, relay.Unknown, relay.ErrorTypeDisconnected)
		f.reach(s)
		f.want(s, message(topic), relay.Acknowledged, "")
	}
}

func neverBlocks(f *fixture) {
	proxy := f.proxy()
	const many = 1024
	s := f.ready(SinkOptions{Addr: proxy.Addr(), Window: many, AckTimeout: shortAck})
	all := messages(f.broker.Topics().Good, many)
	payload := bytes.Repeat([]byte("x"), 32<<10) // 32 MiB: no socket buffer takes them
	for _, m := range all {
		m.Payload = payload
	}
	f.quickly("handing a window over to a stalled broker", shortAck/2, func() time.Duration {
		f.reach(s)
		for _, m := range all {
			f.forget(m)
		}
		proxy.Stall(true)
		begin := time.Now()
		f.publish(s, all...)
		took := time.Since(begin)
		for _, m := range all {
			o := f.await(m)
			if o.Class != relay.Unknown && o.Class != relay.Unavailable {
				f.Fatalf("a message to a stalled broker is %s %q (%v)", o.Class, o.Type, o.Err)
			}
		}
		proxy.Stall(false)
		return took
	})
}

func closesWithOutstanding(f *fixture) {
	f.quickly("closing", 5*time.Second, f.closeWithOutstanding)
}

// closeWithOutstanding returns how long it took.
func (f *fixture) closeWithOutstanding() time.Duration {
	f.Helper()
	proxy := f.proxy()
	s := f.openUnclosed(SinkOptions{Addr: proxy.Addr()})
	f.reach(s)
	topic := f.broker.Topics().Good
	proxy.StallReplies(true)
	outstanding := messages(topic, window)
	f.publish(s, outstanding...)
	eventually(f, "an acknowledgement held back", func() bool { return proxy.HeldReplies() > 0 })
	begin := time.Now()
	f.close(s)
	took := time.Since(begin)
	unknown := 0
	for _, m := range outstanding {
		switch o := f.await(m); o.Class {
		case relay.Unknown:
			unknown++
		case relay.Unavailable: // was not written yet
		default:
			f.Errorf("an outstanding message is %s %q (%v)", o.Class, o.Type, o.Err)
		}
	}
	if unknown == 0 {
		f.Error("no outstanding message is unknown, though the broker had some")
	}
	return took
}

func closesDisconnected(f *fixture) {
	f.broker.Stop(f)
	s := f.openUnclosed(SinkOptions{})
	all := messages(f.broker.Topics().Good, window)
	f.publish(s, all...)
	f.close(s)
	for _, m := range all {
		f.check(m, f.await(m), relay.Unavailable, relay.ErrorTypeDisconnected)
	}
}

func probeEndsWithContext(f *fixture) {
	proxy := f.proxy()
	s := f.ready(SinkOptions{Addr: proxy.Addr()})
	proxy.Stall(true)
	f.quickly("probing a stalled broker for 100 ms", time.Second, func() time.Duration {
		ctx, cancel := context.WithTimeout(f.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := s.Probe(ctx); err == nil {
			f.Error("probing a stalled broker succeeds")
		}
		return time.Since(begin)
	})
}

func unavailableAfterClose(f *fixture) {
	s := f.openUnclosed(SinkOptions{})
	f.reach(s)
	f.close(s)
	f.want(s, message(f.broker.Topics().Good), relay.Unavailable, relay.ErrorTypeDisconnected)
}

func comesBackQuickly(f *fixture) {
	proxy := f.proxy()
	s := f.ready(SinkOptions{Addr: proxy.Addr()})
	topic := f.broker.Topics().Good
	var took []time.Duration
	for range losses {
		begin := time.Now()
		proxy.Cut()
		f.reach(s)
		f.want(s, message(topic), relay.Acknowledged, "")
		took = append(took, time.Since(begin))
	}
	// Pauses that grow with each loss, up to 5 s, would delay most of them.
	if median := slices.Sorted(slices.Values(took))[losses/2]; median > 2*time.Second {
		f.Errorf("the sink was back after %s", took)
	}
}
