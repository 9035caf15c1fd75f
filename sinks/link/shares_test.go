package link

import (
	"fmt"
	"testing"
)

// FuzzShares runs a schedule of calls, one byte each, and holds the shares against a
// list of the messages in flight.
func FuzzShares(f *testing.F) {
	f.Add([]byte("\x00\x03\x03\x03\x04\x05\x01\x02\x03\x06\x07\x00\x0b\x03"))
	f.Add([]byte("the quick brown fox jumps over the lazy dog, again and again"))
	f.Fuzz(func(t *testing.T, schedule []byte) {
		const window = 256 // 4 of a topic, 32 of all
		s := SharesOf(window)
		late := make(map[string]bool)
		var counted []string // topics of messages in flight that were counted
		count := func(topic string) (n int) {
			for _, other := range counted {
				if other == topic {
					n++
				}
			}
			return n
		}
		for i, b := range schedule {
			topic := string('a' + rune(b>>2%16))
			switch b % 4 {
			case 0:
				s.NoteLate(topic)
				late[topic] = true
			case 1:
				s.NoteAcknowledged(topic)
				delete(late, topic)
			case 2:
				if len(counted) > 0 {
					s.Release(counted[0])
					counted = counted[1:]
				}
			case 3:
				room := s.HasRoom(topic)
				if late[topic] && room && len(counted) >= 32 {
					t.Fatalf("step %d: there is room beside %d messages of late topics", i, len(counted))
				}
				if !late[topic] && !room || late[topic] && !room && count(topic) < 4 && len(counted) < 32 {
					t.Fatalf("step %d: there is no room", i)
				}
				if room && s.Take(topic) {
					counted = append(counted, topic)
				}
			}
			if s.IsLate(topic) != late[topic] || s.total != len(counted) || !s.valid() {
				t.Fatalf("step %d: %+v, late %v, in flight %v", i, s, late, counted)
			}
		}
	})
}

func TestShareOfALateTopicIsSmallAndNeverNothing(t *testing.T) {
	for window, want := range map[int]int{0: 1, 1: 1, 100: 1, 4096: 64} {
		s := SharesOf(window)
		s.NoteLate("late")
		n := 0
		for s.HasRoom("late") {
			s.Take("late")
			n++
		}
		if n != want {
			t.Errorf("of a window of %d a late topic has %d, want %d", window, n, want)
		}
		if !s.HasRoom("good") {
			t.Error("another topic has no room")
		}
	}
}

func TestLateTopicsAreBounded(t *testing.T) {
	s := SharesOf(4096)
	for i := range 3 * lateTopics {
		s.NoteLate(fmt.Sprint("topic.", i))
	}
	if !s.valid() || len(s.late) != lateTopics || !s.IsLate(fmt.Sprint("topic.", 3*lateTopics-1)) {
		t.Errorf("%d topics are kept", len(s.late))
	}
}
