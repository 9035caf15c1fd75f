package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

var errLate = errors.New("late")

// A sink takes so many messages of a topic at once, and later all. The topic never has
// many more in memory than that, never none, and is full no more soon after.
func TestFullTopicFollowsWhatTheSinkTakes(t *testing.T) {
	const window = 4096
	for _, takes := range []int{1, 4, 64, 500} {
		t.Run(fmt.Sprint(takes), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(takes)))
			f, now := newFullTopics(window), time.Now()
			var withSink []*item
			for range takes {
				withSink = append(withSink, &item{Message: &relay.Message{Topic: "x"}})
			}
			f.fill("x", now, withSink)
			f.postponed("x", now, errLate)
			postponed := 0
			// round reads what is wanted and has one of those in the sink settled.
			round := func(most int, acknowledged bool) {
				if f.advance(now); f.has("x") && !f.wants("x") && len(withSink) == 0 {
					now = now.Add(time.Minute)
				}
				for n := f.rows()["x"]; n > 0; n-- {
					it := &item{Message: &relay.Message{Topic: "x"}}
					f.take(it)
					if len(withSink) < most {
						withSink = append(withSink, it)
						continue
					}
					f.release(it)
					f.postponed("x", now, errLate)
					postponed++
				}
				if n := len(withSink); n > 0 {
					i := random.IntN(n)
					f.release(withSink[i])
					f.answered("x", acknowledged)
					withSink[i] = withSink[n-1]
					withSink = withSink[:n-1]
				}
				if !f.valid() {
					t.Fatalf("%+v", f.shares["x"])
				}
			}
			for range 10_000 {
				round(takes, false)
			}
			if !f.has("x") || postponed > 0 || len(withSink) < takes/2-1 {
				t.Errorf("late: full is %t, %d postponed, %d with the sink", f.has("x"), postponed, len(withSink))
			}
			for range 10_000 { // each is late and yet acknowledged
				round(takes, random.IntN(2) == 0)
			}
			if postponed > 10_000*takes+window {
				t.Errorf("%d were postponed", postponed)
			}
			rounds := 0
			for ; f.has("x") && rounds < 100; rounds++ {
				round(window, true)
			}
			if rounds > 15 {
				t.Errorf("full for %d messages after it was well again", rounds)
			}
		})
	}
}

func TestFullTopicsAreBounded(t *testing.T) {
	f, now := newFullTopics(16), time.Now()
	for i := range maxFullTopics {
		if !f.fill(fmt.Sprint("topic.", i), now, nil) {
			t.Fatalf("topic %d has no place", i)
		}
	}
	if f.fill("one.more", now, nil) || f.has("one.more") || !f.hasRoom("one.more") || !f.valid() {
		t.Error("the list is not bounded")
	}
	if told := f.told(); len(told) != relay.MaxLateTopicsTold {
		t.Errorf("%d topics are told", len(told))
	}
}

// A topic of which no row waits is forgotten by the pass that has looked for rows of it,
// and by no other.
func TestFullTopicWithoutRowsIsForgotten(t *testing.T) {
	f, now := newFullTopics(16), time.Now()
	f.fill("x", now, nil)
	f.postponed("x", now, errLate)
	f.snapshotBegins()
	if f.complete(); !f.has("x") {
		t.Fatal("forgotten while nobody looked for rows of it")
	}
	f.advance(now.Add(time.Second))
	f.snapshotBegins()
	f.meet("x")
	if f.complete(); !f.has("x") {
		t.Fatal("forgotten although there is a row")
	}
	f.snapshotBegins()
	if f.complete(); f.has("x") {
		t.Fatal("remembered although there is none")
	}
}
