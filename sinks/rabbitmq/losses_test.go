package rabbitmq

import (
	"slices"
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
	l.turnBegins()
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

// A session has several channels. Each reports what was in flight on it, in any order.
// A message is found, whichever channel it was on.
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

// A suspect waits until nothing is in flight. Messages of other late topics come all the
// time: those after it wait with it, or it would never get its turn.
func TestSuspectOfTheLateTopicsGetsItsTurn(t *testing.T) {
	l := newLosses()
	l.blame(relay.Ref{ID: 1})
	// turn is one look at the messages that wait, in their order. It returns those that are
	// written.
	turn := func(waiting ...int64) (written []int64) {
		l.turnBegins()
		for _, id := range waiting {
			if l.begin(relay.Ref{ID: id}) {
				written = append(written, id)
			}
		}
		return written
	}
	want := func(got []int64, want ...int64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("written are %v, want %v", got, want)
		}
	}
	want(turn(2, 3), 2, 3)
	want(turn(4, 1, 5, 6), 4) // what came before it goes
	if !l.isDue(relay.Ref{ID: 1}) || l.isDue(relay.Ref{ID: 5}) {
		t.Error("the suspect is taken for one whose topic is crowded, or another one is not")
	}
	for _, id := range []int64{2, 3, 4} {
		want(turn(1, 5, 6))
		l.end(relay.Ref{ID: id}, relay.Refused)
	}
	want(turn(1, 5, 6), 1)
	want(turn(5, 6))
	l.end(relay.Ref{ID: 1}, relay.Acknowledged)
	want(turn(5, 6), 5, 6)
}
