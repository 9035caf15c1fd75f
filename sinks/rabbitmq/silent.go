package rabbitmq

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// mostSilent bounds the memory of topics that were late in the quarantine.
const mostSilent = 1000

// silent has the topics of which a message was late in the quarantine a moment ago.
// There each message has the channel to itself. If no message of a topic is confirmed,
// each one would delay all other topics by a whole timeout.
type silent struct {
	count atomic.Int32 // so that has takes no lock while there are none

	mu    sync.Mutex
	until map[string]time.Time
}

func newSilent() *silent { return &silent{until: make(map[string]time.Time)} }

func (s *silent) has(topic string, now time.Time) bool {
	if s.count.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.until[topic])
}

// add notes a topic until then, and drops those whose time is over.
func (s *silent) add(topic string, now, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.until, func(_ string, until time.Time) bool { return !now.Before(until) })
	if len(s.until) >= mostSilent {
		clear(s.until) // the next message of each topic waits once more
	}
	s.until[topic] = until
	s.count.Store(int32(len(s.until)))
}
