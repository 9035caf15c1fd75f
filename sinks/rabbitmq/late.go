package rabbitmq

import (
	"sync"
	"sync/atomic"
)

// mostLate bounds the memory of late topics.
const mostLate = 1000

// lateTopics are the topics whose messages wait for their confirms for long. A queue
// that takes no commands makes the broker stop reading the whole connection, once a few
// dozen messages wait for it. So these topics have a connection of their own, and few
// messages on it.
type lateTopics struct {
	count   atomic.Int32  // so that has takes no lock while there are none
	some    chan struct{} // holds one: there are some
	changed func()

	mu     sync.Mutex
	topics map[string]struct{}
}

func newLateTopics(changed func()) *lateTopics {
	return &lateTopics{some: make(chan struct{}, 1), changed: changed, topics: make(map[string]struct{})}
}

func (l *lateTopics) has(topic string) bool {
	if l.count.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.topics[topic]
	return ok
}

func (l *lateTopics) add(topic string) {
	l.mu.Lock()
	if len(l.topics) >= mostLate {
		clear(l.topics) // a message of each has to be late once more
	}
	_, was := l.topics[topic]
	l.topics[topic] = struct{}{}
	l.count.Store(int32(len(l.topics)))
	l.mu.Unlock()
	l.remind()
	if !was {
		l.changed() // what waits for room on another lane need not
	}
}

// remind has a connection made if there are late topics.
func (l *lateTopics) remind() {
	if l.count.Load() == 0 {
		return
	}
	select {
	case l.some <- struct{}{}:
	default:
	}
}

// clear drops a topic: a message of it was confirmed in time.
func (l *lateTopics) clear(topic string) {
	l.mu.Lock()
	_, was := l.topics[topic]
	delete(l.topics, topic)
	l.count.Store(int32(len(l.topics)))
	l.mu.Unlock()
	if was {
		l.changed()
	}
}
