package sinktest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
)

// load publishes like the relay, with the window always full.
type load struct {
	f     *fixture
	s     relay.Sink
	topic string

	acks      atomic.Int64
	published int // once the goroutine has ended
	stop      chan struct{}
	ended     sync.WaitGroup
}

// load starts a load. End it with finish.
func (f *fixture) load(s relay.Sink, topic string) *load {
	l := &load{f: f, s: s, topic: topic, stop: make(chan struct{})}
	l.ended.Go(l.run)
	return l
}

func (l *load) run() {
	slots := make(chan struct{}, window)
	for {
		select {
		case <-l.stop:
			for range window { // all are reported
				slots <- struct{}{}
			}
			return
		case slots <- struct{}{}:
			l.published++
			l.s.Publish(message(l.topic), func(m *relay.Message, o relay.Outcome) { l.reported(m, o, slots) })
		}
	}
}

func (l *load) reported(m *relay.Message, o relay.Outcome, slots <-chan struct{}) {
	l.f.report(m, o)
	// As the relay does: what is reported is the relay's again. Under the race detector
	// this catches a sink that still reads it.
	m.Payload, m.Headers = nil, nil
	if o.Class == relay.Acknowledged {
		l.acks.Add(1)
		<-slots
		return
	}
	// A sink that is down reports as fast as it is asked.
	time.AfterFunc(time.Millisecond, func() { <-slots })
}

// finish blocks until everything that was published is reported.
func (l *load) finish() {
	close(l.stop)
	l.ended.Wait()
}

// losses is how often the connection is lost in a test of that.
const losses = 20

// reportsOnceUnderLosses publishes while connections are cut and the broker is stopped.
func reportsOnceUnderLosses(f *fixture) {
	proxy := f.proxy()
	s := f.ready(SinkOptions{Addr: proxy.Addr()})
	l := f.load(s, f.broker.Topics().Good)
	for i := range losses {
		before := l.acks.Load()
		f.lose(i, proxy, s)
		if i%4 == 3 { // a slow broker acknowledges nothing between losses that follow at once
			eventually(f, "an acknowledgement between losses", func() bool { return l.acks.Load() > before })
		}
	}
	l.finish()
	l.checkReports()
	l.checkStored()
}

// checkReports: every message has been reported, and the losses were seen.
func (l *load) checkReports() {
	f := l.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.outcomes) != l.published {
		f.Errorf("%d of %d messages were reported", len(f.outcomes), l.published)
	}
	count := make(map[relay.Class]int)
	for _, o := range f.outcomes {
		count[o.Class]++
	}
	f.Logf("%d messages: %v", l.published, count)
	if count[relay.Acknowledged] == 0 || count[relay.Unavailable] == 0 || count[relay.Refused]+count[relay.Rejected] > 0 {
		f.Errorf("outcomes are %v, want acknowledged, unavailable and unknown ones", count)
	}
}

// checkStored: what was acknowledged is stored.
func (l *load) checkStored() {
	f := l.f
	stored := make(map[string]bool)
	for _, id := range f.ids(l.topic) {
		stored[id] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, o := range f.outcomes {
		if o.Class == relay.Acknowledged && !stored[id.String()] {
			f.Fatalf("message %s was acknowledged and is not stored", id)
		}
	}
}

// lose loses the connection in one of several ways and waits until the sink is
// back.
func (f *fixture) lose(i int, proxy *faultproxy.Proxy, s relay.Sink) {
	switch i % 4 {
	case 0:
		proxy.Cut()
	case 1:
		proxy.StallReplies(true)
		eventually(f, "an acknowledgement held back", func() bool { return proxy.HeldReplies() > 0 })
		proxy.Cut()
		proxy.StallReplies(false)
	case 2:
		proxy.Refuse(true)
		proxy.Cut()
		f.down(s)
		proxy.Refuse(false)
	case 3:
		f.broker.Stop(f)
		f.broker.Restart(f)
	}
	f.reach(s)
}
