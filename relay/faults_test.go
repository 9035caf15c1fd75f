package relay_test

import (
	"context"
	"sync"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Faults that are put between a real database, a real broker and the relay:
// nothing here stands in for either, it only delays or spoils what they say.

// gateSink lets a test hold back or replace the outcomes that a real sink
// reports.
type gateSink struct {
	relay.Sink

	mu     sync.Mutex
	closed bool
	held   []func()
	// spoil may replace an outcome; nil leaves all as they are.
	spoil func(*relay.Message, relay.Outcome) relay.Outcome
	// published lists the ids handed to the real sink, in order.
	published []int64
}

func (s *gateSink) Publish(m *relay.Message, report relay.Report) {
	s.mu.Lock()
	s.published = append(s.published, m.ID)
	s.mu.Unlock()
	s.Sink.Publish(m, func(m *relay.Message, o relay.Outcome) {
		s.mu.Lock()
		if s.spoil != nil {
			o = s.spoil(m, o)
		}
		if s.closed {
			s.held = append(s.held, func() { report(m, o) })
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		report(m, o)
	})
}

// hold keeps every outcome from now on.
func (s *gateSink) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// holding counts the outcomes held back.
func (s *gateSink) holding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// letGo reports what was held back, and holds no more.
func (s *gateSink) letGo() {
	s.mu.Lock()
	s.closed = false
	s.mu.Unlock()
	s.letThrough()
}

// letThrough reports what was held back until now, and goes on holding.
func (s *gateSink) letThrough() {
	s.mu.Lock()
	held := s.held
	s.held = nil
	s.mu.Unlock()
	for _, report := range held {
		report()
	}
}

// ids returns the ids handed to the sink so far, in order.
func (s *gateSink) ids() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int64(nil), s.published...)
}

// slowDatabase keeps the results of chunks on their way: the statement is done,
// its snapshot taken, and the relay does not have the rows yet.
type slowDatabase struct {
	relay.Database
	// read is told of each chunk that has been read, and the chunk is delivered
	// when the function returns.
	read func(relay.Chunk)
}

func (d *slowDatabase) OpenSweep(ctx context.Context, c relay.Control) (relay.Sweep, error) {
	s, err := d.Database.OpenSweep(ctx, c)
	if err != nil {
		return nil, err
	}
	return &slowSweep{Sweep: s, read: d.read}, nil
}

type slowSweep struct {
	relay.Sweep
	read func(relay.Chunk)
}

func (s *slowSweep) Chunk(ctx context.Context, req relay.ChunkRequest) (relay.Chunk, error) {
	c, err := s.Sweep.Chunk(ctx, req)
	if err == nil {
		s.read(c)
	}
	return c, err
}
