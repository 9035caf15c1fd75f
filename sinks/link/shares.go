package link

// Shares bounds what topics whose messages come late take of a window. Their messages
// wait for their whole time, so in a while they would fill the window, and every other
// topic would wait with them. A late topic that is tried with few messages costs the
// others nothing, and is found out to be well by the first of these that is
// acknowledged. It has no I/O and no clock, and is for one goroutine.
type Shares struct {
	each, all int // messages in flight of a late topic, and of all of them

	late  map[string]int // late topics, with their messages in flight that were counted
	total int            // the sum of these, and of topics that are not late any more
}

// Of a window a late topic has one in 64 messages, all of them together have one in eight.
const (
	shareOfTopic = 64
	shareOfAll   = 8
	// lateTopics bounds the memory if an application makes up thousands of topics.
	lateTopics = 1000
)

// NewShares returns shares of each, and all together, so many messages. No topic is late.
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

// IsLate returns whether the topic has a share only.
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

// Release takes a message back that Take has counted.
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
