package link

// Shares bounds how much of a window late topics take: topics with messages that are
// not acknowledged in time. Each such message waits for its whole time. So after a
// while these messages would fill the window, and every other topic would wait with
// them. A late topic that is tried with few messages costs the others nothing. As soon
// as one of these is acknowledged, the topic is late no more. Shares has no I/O and no
// clock, and is for one goroutine.
type Shares struct {
	each, all int // at most so many messages in flight of one late topic, and of all late topics

	late  map[string]int // by late topic: how many of its messages Take has counted
	total int            // all messages that Take has counted, also of topics that are not late any more
}

// One late topic may have one in 64 messages of a window, and all late topics together
// one in eight.
const (
	shareOfTopic = 64
	shareOfAll   = 8
	// lateTopics bounds the memory if an application makes up thousands of topics.
	lateTopics = 1000
)

// NewShares returns shares without a late topic. each bounds the messages of one late
// topic, all those of all late topics.
func NewShares(each, all int) *Shares {
	return &Shares{each: each, all: all, late: make(map[string]int)}
}

// SharesOf returns the shares of a window of so many messages.
func SharesOf(window int) *Shares {
	each := max(1, window/shareOfTopic)
	return NewShares(each, max(each, window/shareOfAll))
}

// Len returns how many topics are late.
func (s *Shares) Len() int { return len(s.late) }

// NoteLate notes that a message of the topic was refused because it was late.
func (s *Shares) NoteLate(topic string) {
	if _, known := s.late[topic]; known {
		return
	}
	if len(s.late) >= lateTopics {
		s.forgetIdle()
	}
	if len(s.late) < lateTopics {
		s.late[topic] = 0
	}
}

// forgetIdle makes room for another topic.
func (s *Shares) forgetIdle() {
	for topic, n := range s.late {
		if n == 0 {
			delete(s.late, topic)
			return
		}
	}
}

// NoteAcknowledged notes that a message of the topic was acknowledged in time: it has
// the whole window again.
func (s *Shares) NoteAcknowledged(topic string) { delete(s.late, topic) }

// IsLate returns whether the topic has only a share of the window.
func (s *Shares) IsLate(topic string) bool {
	_, late := s.late[topic]
	return late
}

// HasRoom returns whether a message of the topic may go now.
func (s *Shares) HasRoom(topic string) bool {
	n, late := s.late[topic]
	return !late || n < s.each && s.total < s.all
}

// Take counts a message that goes, if its topic is late. If it returns true, the
// caller calls Release when the message is settled.
func (s *Shares) Take(topic string) bool {
	n, late := s.late[topic]
	if late {
		s.late[topic] = n + 1
		s.total++
	}
	return late
}

// Release stops counting a message that Take has counted.
func (s *Shares) Release(topic string) {
	s.total--
	if n := s.late[topic]; n > 0 {
		s.late[topic] = n - 1
	}
}

// valid returns whether the counts agree. It is for tests.
func (s *Shares) valid() bool {
	sum := 0
	for _, n := range s.late {
		if n < 0 {
			return false
		}
		sum += n
	}
	return sum <= s.total && len(s.late) <= lateTopics
}
