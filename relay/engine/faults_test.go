package engine_test

import (
	"context"
	"sync"
	"sync/atomic"

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

// holds says whether outcomes are kept.
func (s *gateSink) holds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
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

// valve keeps whoever waits at it while it is shut. The zero value is open.
type valve struct {
	mu   sync.Mutex
	shut chan struct{} // nil while open
}

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = make(chan struct{})
}

// open lets everybody go. It may be called twice.
func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

func (v *valve) wait() {
	v.mu.Lock()
	shut := v.shut
	v.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// slowDatabase keeps the results of statements, and what the log tells, on their
// way: the statement is done, its snapshot taken, and the relay does not have the
// rows yet. A function that is nil keeps nothing.
type slowDatabase struct {
	relay.Database
	// began, read and surveyed are told of what has been read, which is delivered
	// when they return.
	began    func(relay.Pass)
	read     func(relay.Chunk)
	surveyed func(relay.Survey)
	// told is told of each event of the log, which is delivered when it returns.
	told func(relay.TailEvent)
	// marking is told of each batch of marks, which is written when it returns.
	marking func([]relay.Mark)
	// marked is called when a batch is written; the relay knows it when marked returns.
	marked func()
}

func (d *slowDatabase) Connect(ctx context.Context) (relay.Control, error) {
	c, err := d.Database.Connect(ctx)
	if err != nil || d.marking == nil && d.marked == nil {
		return c, err
	}
	return &slowControl{Control: c, database: d}, nil
}

// plain is the session of the database itself, which it knows again.
func plain(c relay.Control) relay.Control {
	if slow, ok := c.(*slowControl); ok {
		return slow.Control
	}
	return c
}

type slowControl struct {
	relay.Control
	database *slowDatabase
}

func (c *slowControl) Mark(ctx context.Context, marks []relay.Mark) ([]relay.Ref, error) {
	if c.database.marking != nil {
		c.database.marking(marks)
	}
	written, err := c.Control.Mark(ctx, marks)
	if c.database.marked != nil {
		c.database.marked()
	}
	return written, err
}

func (d *slowDatabase) OpenReader(ctx context.Context, c relay.Control) (relay.Reader, error) {
	s, err := d.Database.OpenReader(ctx, plain(c))
	if err != nil {
		return nil, err
	}
	return &slowReader{Reader: s, database: d}, nil
}

func (d *slowDatabase) OpenTail(ctx context.Context, c relay.Control, limit func() int64) (relay.Tail, error) {
	t, err := d.Database.OpenTail(ctx, plain(c), limit)
	if err != nil {
		return nil, err
	}
	return &slowTail{Tail: t, database: d}, nil
}

type slowReader struct {
	relay.Reader
	database *slowDatabase
}

func (s *slowReader) Begin(ctx context.Context) (relay.Pass, error) {
	p, err := s.Reader.Begin(ctx)
	if err == nil && s.database.began != nil {
		s.database.began(p)
	}
	return p, err
}

func (s *slowReader) Chunk(ctx context.Context, req relay.ChunkRequest) (relay.Chunk, error) {
	c, err := s.Reader.Chunk(ctx, req)
	if err == nil && s.database.read != nil {
		s.database.read(c)
	}
	return c, err
}

func (s *slowReader) Survey(ctx context.Context, req relay.ChunkRequest) (relay.Survey, error) {
	v, err := s.Reader.Survey(ctx, req)
	if err == nil && s.database.surveyed != nil {
		s.database.surveyed(v)
	}
	return v, err
}

type slowTail struct {
	relay.Tail
	database *slowDatabase
}

func (t *slowTail) Next(ctx context.Context) (relay.TailEvent, error) {
	ev, err := t.Tail.Next(ctx)
	if err == nil && t.database.told != nil {
		t.database.told(ev)
	}
	return ev, err
}

// deafDatabase loses the rows of the log, as PostgreSQL does where a publication
// has lost the table; only their position is told.
type deafDatabase struct {
	relay.Database
	ear *ear
}

// ear says whether rows of the log are lost, and counts those that were.
type ear struct {
	deaf atomic.Bool
	lost atomic.Int64
}

func (d *deafDatabase) OpenTail(ctx context.Context, c relay.Control, limit func() int64) (relay.Tail, error) {
	t, err := d.Database.OpenTail(ctx, c, limit)
	return &deafTail{Tail: t, ear: d.ear}, err
}

type deafTail struct {
	relay.Tail
	ear *ear
}

func (t *deafTail) Next(ctx context.Context) (relay.TailEvent, error) {
	ev, err := t.Tail.Next(ctx)
	if t.ear.deaf.Load() && ev.Message != nil {
		ev.Message = nil
		t.ear.lost.Add(1)
	}
	return ev, err
}
