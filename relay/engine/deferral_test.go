package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// The broker comes and goes, and now and then nobody looks for a while. A frame is due when
// the broker was seen to be down for the limit since it was noted, and soon after at the
// latest.
func TestDeferralCountsWhatWasSeen(t *testing.T) {
	const most = time.Minute
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 11))
		d, now := newDeferral(most), time.Unix(0, 0)
		var down, last time.Duration // as it was, and when the newest frame was noted
		noted := map[int64]time.Duration{}
		isDown, seen := false, false
		for step := range int64(5000) {
			gap := time.Duration(random.IntN(1000)) * time.Millisecond
			if random.IntN(100) == 0 {
				gap = time.Hour // the process stood still
			}
			now = now.Add(gap)
			if random.IntN(20) == 0 {
				isDown = !isDown
			}
			if isDown && seen && gap <= deferGap {
				down += gap
			}
			seen = isDown
			d.look(now, isDown)
			if d.wantsFrame() {
				d.note(relay.Pass{Bound: step})
				noted[step], last = down, down
			} else if isDown && down-last > most/deferFrames {
				t.Fatalf("seed %d: no frame for %v", seed, down-last)
			}
			frame, due := d.due()
			if due {
				if waited := down - noted[frame.Bound]; waited < most || waited > most+most/deferFrames+2*deferGap {
					t.Fatalf("seed %d: a frame is due after %v", seed, waited)
				}
				d.done()
			}
			if !d.valid() || len(d.frames) > 2*deferFrames {
				t.Fatalf("seed %d: %d frames", seed, len(d.frames))
			}
		}
		if len(noted) < 10 {
			t.Fatalf("seed %d: %d frames were noted", seed, len(noted))
		}
	}
}

// If the broker may have more rows than it remembers, no row is given up.
func TestDeferralForgetsNoUnknownRow(t *testing.T) {
	d, now := newDeferral(time.Minute), time.Unix(0, 0)
	d.look(now, true)
	d.note(relay.Pass{})
	for range 20 {
		now = now.Add(5 * time.Second)
		d.look(now, true)
	}
	if _, due := d.due(); !due {
		t.Fatal("the frame is not due")
	}
	for id := range int64(mostUnknown + 10) {
		d.lost(relay.Ref{ID: id})
	}
	if _, due := d.due(); due || !d.valid() {
		t.Errorf("rows are given up while %d are unknown", len(d.unknown))
	}
	d.settled(relay.Ref{ID: 1})
	if _, due := d.due(); !due || d.isUnknown(relay.Ref{ID: 1}) || !d.isUnknown(relay.Ref{ID: 2}) {
		t.Error("a row whose outcome is known now is still unknown")
	}
}

// unreachable is a sink whose broker is away.
type unreachable struct{ publisher }

func (unreachable) Probe(context.Context) error { return errors.New("connection refused") }

// Relays that cannot reach the broker take turns in leading. One that stands by looks at the
// broker, or it would know of a part of the outage only.
func TestStandbyLooksAtTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			sink relay.Sink
			most time.Duration
			down bool
		}{{unreachable{}, time.Minute, true}, {publisher(nil), time.Minute, false}, {unreachable{}, 0, false}} {
			s := &standby{Relay: New(Config{Sink: c.sink, Patience: Patience{MaxDefer: c.most}})}
			stop := s.watchBroker(t.Context())
			elapse(watchEvery)
			if s.brokerDown.Load() != c.down {
				t.Errorf("%T, %v: the broker is down: %t", c.sink, c.most, !c.down)
			}
			stop()
		}
	})
}
