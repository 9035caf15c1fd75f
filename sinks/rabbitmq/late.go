package rabbitmq

import (
	"sync"
	"sync/atomic"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

const (
	// lateWindow is below the number of unconfirmed messages at which RabbitMQ stops
	// reading a channel, and then the connection (quorum_commands_soft_limit, 32). So
	// the broker never stops reading the connection of the late topics, however many
	// queues have stopped.
	lateWindow = 24
	// lateChannels is how many channels that connection has. A queue that takes no
	// commands stops its channel at the first message, with all topics on that channel.
	lateChannels = 8
	// latePerTopic is how many messages may be of one topic, so that a topic that is
	// never confirmed leaves room for others. The topic's late confirms still count:
	// with the first of them its next message is written.
	latePerTopic = 4
)

// lateTopics are the topics with messages that wait for their confirms for long. A
// queue that takes no commands makes the broker stop reading the whole connection, once
// a few dozen messages wait for it. So these topics have a connection of their own, and
// few messages on it. A message counts until the broker owes no confirm for it any
// more.
type lateTopics struct {
	count   atomic.Int32  // so that has takes no lock while there are none
	some    chan struct{} // holds one: there are some
	changed func()

	mu     sync.Mutex
	shares *link.Shares
}

func newLateTopics(changed func()) *lateTopics {
	return &lateTopics{some: make(chan struct{}, 1), changed: changed, shares: link.NewShares(latePerTopic, lateChannels*lateWindow)}
}

func (l *lateTopics) has(topic string) bool {
	if l.count.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shares.IsLate(topic)
}

func (l *lateTopics) add(topic string) {
	if l.change(topic, l.shares.NoteLate) {
		l.changed() // messages of the topic that wait for room on another writer go to the late sender
	}
	l.remind()
}

// clear drops a topic: a message of it was confirmed in time.
func (l *lateTopics) clear(topic string) {
	if l.change(topic, l.shares.NoteAcknowledged) {
		l.changed()
	}
}

// change notes something about a topic, and returns whether that changed if the topic
// is late.
func (l *lateTopics) change(topic string, note func(string)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.shares.IsLate(topic)
	note(topic)
	l.count.Store(int32(l.shares.Len()))
	return l.shares.IsLate(topic) != was
}

// remind has the second connection made if there are late topics.
func (l *lateTopics) remind() {
	if l.count.Load() == 0 {
		return
	}
	select {
	case l.some <- struct{}{}:
	default:
	}
}

// take counts a message of a late topic if there is room for it. The caller calls release
// when the message was not written, or when the broker owes no confirm for it any more.
func (l *lateTopics) take(topic string) (late, taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.shares.IsLate(topic) {
		return false, false
	}
	return true, l.shares.HasRoom(topic) && l.shares.Take(topic)
}

func (l *lateTopics) release(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shares.Release(topic)
}
