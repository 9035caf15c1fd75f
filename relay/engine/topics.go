package engine

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// fullTopics are the topics of which the sink takes no more messages for now, because
// they are late and enough of them wait already. Their rows are left to the table,
// where they cost nothing. Only as many rows of a topic are in memory as the sink has
// taken at once. A row that is left holds its key, if it has one, as a row that waits
// for its retry does.
//
// The sink postpones messages that are too many; that shows how many it takes. Each
// message that is acknowledged doubles the number, until the topic has the whole window
// again and is full no more. fullTopics has no I/O and no clock.
type fullTopics struct {
	window int
	shares map[string]*topicShare
	// roomy says that a topic has got room since the loop last asked.
	roomy bool
}

// topicShare is what is known of a full topic.
type topicShare struct {
	limit  int // how many of its messages may be in memory, from 1
	memory int // how many of its messages are in memory and not reported
	// tries counts the messages that were postponed in a row while no other message of
	// the topic was in memory. After each, the next one waits until again.
	tries int
	again time.Time // zero: it does not wait
	since time.Time
	why   string
	// asked says that the running pass or survey looks for rows of the topic; met says
	// that it has met one.
	asked, met bool
}

// maxFullTopics bounds the topics that are sent with each statement. If the sink
// postpones a message of a further topic, the message counts as refused, so that it
// waits in the table for its retry.
const maxFullTopics = 1000

// postponeRetry are the pauses before a topic is tried again, if the sink took none of
// its messages.
var postponeRetry = Backoff{time.Second, 15 * time.Second}

func newFullTopics(window int) *fullTopics {
	return &fullTopics{window: window, shares: make(map[string]*topicShare)}
}

// has says whether the topic is full.
func (f *fullTopics) has(topic string) bool {
	if len(f.shares) == 0 {
		return false // nearly always
	}
	_, full := f.shares[topic]
	return full
}

// fill notes that the topic is full. withSink are the topic's messages that the sink
// has. It returns false if there are too many full topics.
func (f *fullTopics) fill(topic string, now time.Time, withSink []*item) bool {
	if len(f.shares) >= maxFullTopics {
		return false
	}
	f.shares[topic] = &topicShare{limit: f.window, since: now}
	for _, it := range withSink {
		it.counted = false
		f.take(it)
	}
	return true
}

// hasRoom says whether a row of the topic may be taken into memory.
func (f *fullTopics) hasRoom(topic string) bool {
	if len(f.shares) == 0 {
		return true
	}
	s := f.shares[topic]
	return s == nil || s.room() > 0
}

func (s *topicShare) room() int {
	if !s.again.IsZero() {
		return 0
	}
	return s.limit - s.memory
}

// wanted returns how many rows a statement should bring: none until half of the room is
// free.
func (s *topicShare) wanted() int {
	if room := s.room(); 2*room >= s.limit {
		return room
	}
	return 0
}

// wants says whether rows of the topic, which is full, are wanted now.
func (f *fullTopics) wants(topic string) bool { return f.shares[topic].wanted() > 0 }

// meet notes that a row of the topic waits in the table, or did until now.
func (f *fullTopics) meet(topic string) {
	if s := f.shares[topic]; s != nil {
		s.met = true
	}
}

// take counts a row that came into memory, if its topic is full.
func (f *fullTopics) take(it *item) {
	if len(f.shares) == 0 {
		return
	}
	if s := f.shares[it.Topic]; s != nil {
		it.counted = true
		s.memory++
	}
}

// release notes that the sink has reported a row, or that it has left memory.
func (f *fullTopics) release(it *item) {
	if !it.counted {
		return
	}
	it.counted = false
	if s := f.shares[it.Topic]; s != nil {
		s.memory--
	}
}

// returned notes that a row that was not published has left memory.
func (f *fullTopics) returned(it *item) {
	if it.counted {
		f.release(it)
		f.note(f.shares[it.Topic])
	}
}

// note notes that there may be room by now.
func (f *fullTopics) note(s *topicShare) {
	f.roomy = f.roomy || s != nil && s.wanted() > 0
}

// postponed notes that the sink takes no more messages of the topic, and why. The
// caller has released the message that was postponed.
func (f *fullTopics) postponed(topic string, now time.Time, why error) {
	s := f.shares[topic]
	s.limit = max(1, min(s.limit, s.memory))
	s.why, s.met = why.Error(), true
	if s.memory == 0 {
		s.tries++
		s.again = now.Add(postponeRetry.ceiling(s.tries))
	}
}

// answered notes that the sink has tried a message of the topic, and whether it was
// acknowledged. It returns true if the topic is full no more.
func (f *fullTopics) answered(topic string, acknowledged bool) (ended bool) {
	s := f.shares[topic]
	if s == nil {
		return false
	}
	s.tries, s.again = 0, time.Time{}
	if acknowledged {
		s.limit *= 2
	}
	f.note(s)
	if ended = s.limit >= f.window; ended {
		delete(f.shares, topic)
		f.roomy = true
	}
	return ended
}

// advance lets topics be tried whose pause is over, and says whether a topic has got
// room since the last call.
func (f *fullTopics) advance(now time.Time) (roomy bool) {
	for _, s := range f.shares {
		if !s.again.IsZero() && !now.Before(s.again) {
			s.again = time.Time{}
			f.roomy = true
		}
	}
	roomy, f.roomy = f.roomy, false
	return roomy
}

// until returns how long it is until a topic is to be tried, and never more than most.
func (f *fullTopics) until(now time.Time, most time.Duration) time.Duration {
	for _, s := range f.shares {
		if !s.again.IsZero() {
			most = min(most, max(0, s.again.Sub(now)))
		}
	}
	return most
}

// rows returns how many rows a statement may bring of each full topic; nil if no topic
// is full.
func (f *fullTopics) rows() map[string]int {
	if len(f.shares) == 0 {
		return nil
	}
	rows := make(map[string]int, len(f.shares))
	for topic, s := range f.shares {
		rows[topic] = s.wanted()
	}
	return rows
}

// rowsBeside does what rows does, for a survey. A topic's rows in memory are in the
// table too, and are the oldest ones there. A survey brings them once more, before
// others.
//
// Schedule that starves a topic: row 1 of it is acknowledged and locked by somebody, so
// that it is not marked. Each survey that wants one row of the topic brings row 1.
func (f *fullTopics) rowsBeside(taken *takenRows) map[string]int {
	rows := f.rows()
	if len(rows) == 0 {
		return nil
	}
	for _, it := range taken.rows {
		if it != nil && rows[it.Topic] > 0 {
			rows[it.Topic]++
		}
	}
	return rows
}

// snapshotBegins is called before a pass or a survey begins.
func (f *fullTopics) snapshotBegins() {
	for _, s := range f.shares {
		s.asked, s.met = s.wanted() > 0, false
	}
}

// complete forgets the topics without waiting rows. The pass or survey was complete,
// and has looked for such rows.
func (f *fullTopics) complete() {
	maps.DeleteFunc(f.shares, func(_ string, s *topicShare) bool { return s.asked && !s.met && s.memory == 0 })
}

// told lists some of them, those that have been full for longest.
func (f *fullTopics) told() []relay.LateTopic {
	var told []relay.LateTopic
	for topic, s := range f.shares {
		told = append(told, relay.LateTopic{Topic: topic, Since: s.since, Tried: s.memory, Why: s.why})
	}
	slices.SortFunc(told, func(a, b relay.LateTopic) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Topic, b.Topic))
	})
	return told[:min(len(told), relay.MaxLateTopicsTold)]
}

// valid checks what the comments of the fields say.
func (f *fullTopics) valid() bool {
	for _, s := range f.shares {
		if s.limit < 1 || s.memory < 0 {
			return false
		}
	}
	return len(f.shares) <= maxFullTopics
}
