package sinktest

import (
	"context"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
)

// Run runs the suite. start starts a broker of the test's own.
func Run(t *testing.T, start func(t testing.TB) Broker) {
	for name, test := range map[string]func(*fixture){
		"what is acknowledged is stored as it was":                    storesBytesAndHeaders,
		"messages one after the other keep their order":               keepsOrder,
		"a message id the broker has is a duplicate":                  reportsDuplicates,
		"the size limit is known once the broker was reached":         knowsSizeLimit,
		"a message is not held once it was reported":                  holdsNothing,
		"a full place refuses and flows again":                        refusesFull,
		"a topic without a place is unroutable":                       refusesUnroutable,
		"a message over the limit is rejected and harms nobody":       rejectsTooLarge,
		"what breaks the rules of the wire is rejected before":        rejectsBroken,
		"a silent place is a refusal while others are acknowledged":   refusesSilent,
		"a stopped broker takes nothing, also not later":              survivesStop,
		"a broker that was never there is found when it comes":        findsLateBroker,
		"a lost acknowledgement is unknown and then a duplicate":      survivesLostAcknowledgement,
		"a half open connection is given up":                          survivesHalfOpen,
		"a message that kills the connection harms no later one":      survivesPoison,
		"every message is reported once under twenty losses":          reportsOnceUnderLosses,
		"publishing a whole window never blocks":                      neverBlocks,
		"closing reports what is outstanding":                         closesWithOutstanding,
		"closing without a connection reports what is outstanding":    closesDisconnected,
		"a probe ends with its context":                               probeEndsWithContext,
		"after closing every message is unavailable":                  unavailableAfterClose,
		"many losses in a row do not slow the way back to the broker": comesBackQuickly,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(&fixture{T: t, broker: start(t), ledger: newLedger(t)})
		})
	}
}

// fixture is what one test works with.
type fixture struct {
	*testing.T
	broker Broker
	*ledger
}

// Values of a sink under test, where the test names none.
const (
	window     = 64
	ackTimeout = 10 * time.Second // longer than any of the suite's brokers takes
	shortAck   = 3 * time.Second  // where the timeout is what is tested
)

// open opens a sink that is closed when the test ends.
func (f *fixture) open(o SinkOptions) relay.Sink {
	f.Helper()
	s := f.openUnclosed(o)
	f.Cleanup(func() { f.close(s) })
	return s
}

func (f *fixture) openUnclosed(o SinkOptions) relay.Sink {
	f.Helper()
	if o.Addr == "" {
		o.Addr = f.broker.Addr()
	}
	if o.Window == 0 {
		o.Window = window
	}
	if o.AckTimeout == 0 {
		o.AckTimeout = ackTimeout
	}
	return f.broker.Open(f, o)
}

// ready opens a sink and waits until it works.
func (f *fixture) ready(o SinkOptions) relay.Sink {
	f.Helper()
	s := f.open(o)
	f.reach(s)
	return s
}

// reach probes until the broker answers, as the relay does.
func (f *fixture) reach(s relay.Sink) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	for {
		err := f.probe(ctx, s)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			f.Fatalf("the broker was not reached: %v", err)
		}
	}
}

// probe asks once, and paces a loop that asks often.
func (f *fixture) probe(ctx context.Context, s relay.Sink) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	begin := time.Now()
	err := s.Probe(ctx)
	if err != nil {
		select {
		case <-ctx.Done():
		case <-time.After(20*time.Millisecond - time.Since(begin)):
		}
	}
	return err
}

func (f *fixture) close(s relay.Sink) {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.Context()), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		f.Errorf("close the sink: %v", err)
	}
}

// proxy stands before the broker for this test.
func (f *fixture) proxy() *faultproxy.Proxy {
	f.Helper()
	p, err := faultproxy.Start(f.Context(), f.broker.Addr())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := p.Close(); err != nil {
			f.Error(err)
		}
	})
	return p
}

// ids are the message ids stored for the topic, in order.
func (f *fixture) ids(topic string) []string {
	f.Helper()
	var ids []string
	for _, s := range f.broker.Stored(f, topic) {
		ids = append(ids, s.MessageID)
	}
	return ids
}
