package rabbitmq

import (
	"sync"
	"sync/atomic"
)

// mostSuspects bounds the memory for topics of messages that closed a channel.
const mostSuspects = 10_000

// suspects has the topics of messages that closed a channel.
type suspects struct {
	count atomic.Int32 // so that has takes no lock while there are none

	mu     sync.Mutex
	topics map[string]struct{}
}

func newSuspects() *suspects { return &suspects{topics: make(map[string]struct{})} }

func (s *suspects) has(topic string) bool {
	if s.count.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.topics[topic]
	return ok
}

func (s *suspects) add(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.topics) >= mostSuspects {
		clear(s.topics) // the next message of each topic closes a channel once more
	}
	s.topics[topic] = struct{}{}
	s.count.Store(int32(len(s.topics)))
}

// clear drops a topic, because one of its messages was taken.
func (s *suspects) clear(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.topics, topic)
	s.count.Store(int32(len(s.topics)))
}
