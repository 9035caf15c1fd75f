package rabbitmq

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestLossesFindTheMessageThatIsAlone(t *testing.T) {
	l := newLosses()
	entryOf := func(id int64) entry {
		return entry{item: item{message: &relay.Message{Ref: relay.Ref{ID: id}}}}
	}
	lose := func(ids ...int64) (guilty bool) {
		t.Helper()
		var left []entry
		for _, id := range ids {
			if !l.begin(relay.Ref{ID: id}) {
				t.Fatalf("%d may not be written", id)
			}
			left = append(left, entryOf(id))
		}
		guilty = l.lost(&session{}, left)
		for _, id := range ids {
			l.end(relay.Ref{ID: id}, relay.Postponed)
		}
		return guilty
	}
	if lose(1) || lose(2, 3) || lose(3, 4) {
		t.Error("a message is blamed that was no suspect")
	}
	l.begin(relay.Ref{ID: 5})
	if l.begin(relay.Ref{ID: 3}) {
		t.Error("a suspect is written beside another message")
	}
	l.end(relay.Ref{ID: 5}, relay.Acknowledged)
	if l.begin(relay.Ref{ID: 3}); l.begin(relay.Ref{ID: 6}) {
		t.Error("a message is written beside a suspect")
	}
	if !l.lost(&session{}, []entry{entryOf(3)}) {
		t.Error("a suspect that was alone is not blamed")
	}
	l.end(relay.Ref{ID: 3}, relay.Refused)
	l.blame(relay.Ref{ID: 3})
	if !lose(3) {
		t.Error("it is not blamed the next time")
	}
	l.begin(relay.Ref{ID: 3})
	l.end(relay.Ref{ID: 3}, relay.Acknowledged)
	if lose(3) {
		t.Error("it is blamed although it ended no connection since")
	}
}

// A session has several channels, each of which tells what was in flight on it, in any
// order. A message is found, whichever channel it was on.
func TestLossesOfAllChannelsAreOne(t *testing.T) {
	l := newLosses()
	lose := func(channels ...int64) {
		t.Helper()
		of := &session{}
		for _, id := range channels {
			l.begin(relay.Ref{ID: id})
		}
		for _, id := range channels {
			l.lost(of, []entry{{item: item{message: &relay.Message{Ref: relay.Ref{ID: id}}}}})
		}
		for _, id := range channels {
			l.end(relay.Ref{ID: id}, relay.Postponed)
		}
	}
	lose(1, 2, 3)
	lose(4, 2, 5)
	if _, found := l.suspects[relay.Ref{ID: 2}]; !found || len(l.suspects) != 1 {
		t.Errorf("suspects are %v, want the one that was there both times", l.suspects)
	}
}
