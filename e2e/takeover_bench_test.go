package e2e_test

import (
	"context"
	"encoding/json"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// takeoverRounds is how often a leader falls, for each way of falling: enough for
// a median, since a standby looks for the lock at any point of its second.
const takeoverRounds = 15

// BenchmarkTakeover prints how long it takes, under load, from the end of a leader
// to the first message that its standby has in the stream: where the leader is
// killed, and where it is asked to end. The bars are 3 s and 300 ms, for the
// medians.
func BenchmarkTakeover(b *testing.B) {
	for b.Loop() {
		for _, end := range []struct {
			name   string
			signal syscall.Signal
		}{
			{"killed", syscall.SIGKILL},
			{"graceful", syscall.SIGTERM},
		} {
			w := newBenchWorld(b)
			load := w.load(oracle.Load{Rate: 500, Seed: 60})
			var took []float64
			leader := w.relayOf(relaybin.Released)
			leader.AwaitLog("tailing")
			for range takeoverRounds {
				standby := w.relayOf(relaybin.Released)
				standby.AwaitLog("standing by")
				w.awaitStored(w.stored() + 100)
				took = append(took, w.takeover(leader, standby, end.signal).Seconds()*1000)
				standby.AwaitLog("tailing")
				leader = standby
			}
			w.stop(load, 100)
			w.awaitDrained()
			leader.Terminate()
			figure(b, "takeover_"+end.name+"_ms", median(took))
			figure(b, "takeover_"+end.name+"_max_ms", slices.Max(took))
		}
	}
}

// BenchmarkStart prints how long it takes from the start of a relay's process, where no
// other leads, to the first message in the stream. The bar is 150 ms, for the median.
func BenchmarkStart(b *testing.B) {
	w := newBenchWorld(b)
	for b.Loop() {
		var took []float64
		for range takeoverRounds {
			w.exec(`INSERT INTO {outbox} (topic, payload) VALUES ('oracle.bulk', '{}')`)
			from := w.stored()
			began := time.Now()
			relay := w.relayOf(relaybin.Released)
			var first time.Time
			w.await("the relay has published", func() bool {
				first = w.storedSince(from, began)
				return !first.IsZero()
			})
			took = append(took, first.Sub(began.Round(0)).Seconds()*1000) // by the wall clock, which the broker has too
			relay.Terminate()
		}
		figure(b, "start_ms", median(took))
		figure(b, "start_max_ms", slices.Max(took))
	}
}

// takeover ends the leader and returns how long after that the broker stored the
// standby's first message. Only a message that came after the standby began to lead
// is its own: those of a dead leader may lie in the broker's socket for a moment.
func (w *world) takeover(leader, standby *relaybin.Process, end syscall.Signal) time.Duration {
	w.t.Helper()
	from := w.stored()
	fell := time.Now()
	leader.Signal(end)
	leads := logged(w.t, standby.AwaitLog(`"msg":"leading"`))
	var first time.Time
	w.await("the standby has published", func() bool {
		first = w.storedSince(from, leads)
		return !first.IsZero()
	})
	leader.Wait(patience)
	return first.Sub(fell.Round(0)) // by the wall clock, which the broker has too
}

// storedSince is when the first message after a place in the stream and after a
// time was stored; zero while there is none.
func (w *world) storedSince(place int, t time.Time) time.Time {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	stream, err := w.js.Stream(ctx, streamName)
	if err != nil {
		w.t.Fatal(err)
	}
	last := stream.CachedInfo().State.LastSeq
	for seq := uint64(place) + 1; seq <= last; seq++ {
		msg, err := stream.GetMsg(ctx, seq)
		if err != nil {
			w.t.Fatal(err)
		}
		if msg.Time.After(t) {
			return msg.Time
		}
	}
	return time.Time{}
}

// logged is the time of a line of a relay's log.
func logged(t testing.TB, line string) time.Time {
	t.Helper()
	var record struct{ Time time.Time }
	if err := json.Unmarshal([]byte(line), &record); err != nil {
		t.Fatalf("read log line %q: %v", line, err)
	}
	return record.Time
}
