package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// readSession runs the loop's requests on the session that reads the table, one
// statement at a time. It owns that session and opens it when there is none. It
// decides nothing, and never waits for the sink: each statement's whole result is in
// memory when it answers.
type readSession struct {
	database relay.Database
	control  relay.Control
	session  relay.Reader

	requests chan readRequest
	results  chan readResult
	// woken has an element after a notification that rows are due. The session listens
	// while it has nothing to do for a tail.
	woken chan struct{}
	idle  idleWait
}

// idleWait is a wait that the next request ends.
type idleWait struct {
	mu  sync.Mutex
	end context.CancelFunc // nil while there is none
}

func (w *idleWait) begin(end context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = end
}

func (w *idleWait) over() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end != nil {
		w.end()
	}
}

// readRequest asks for one thing.
type readRequest struct {
	kind  statement
	chunk relay.ChunkRequest // for readChunk, the refills, readExpired and readSurvey
	tail  relay.Tail         // for inspectTail
}

// readResult answers a request. After an error the session has been closed;
// the next request opens another.
type readResult struct {
	kind     statement
	pass     relay.Pass
	chunk    relay.Chunk
	survey   relay.Survey
	snapshot wal.Snapshot
	lag      relay.TailLag
	refusal  error // why the tail cannot be trusted
	took     time.Duration
	err      error
}

func newReadSession(db relay.Database, c relay.Control) *readSession {
	return &readSession{
		database: db,
		control:  c,
		requests: make(chan readRequest, 1),
		results:  make(chan readResult, 1),
		woken:    make(chan struct{}, 1),
	}
}

// ask sends a request. The caller sends no second request before the result of the
// first has come, so neither channel ever blocks.
func (s *readSession) ask(req readRequest) {
	s.requests <- req
	s.idle.over()
}

// run answers requests until ctx ends. Each request gets one result.
func (s *readSession) run(ctx context.Context) {
	defer s.close()
	for {
		select {
		case <-ctx.Done():
			return
		case req := <-s.requests:
			s.results <- s.answer(ctx, req)
			if req.kind.ofTail() {
				s.awaitWakes(ctx)
			}
		}
	}
}

// awaitWakes listens for notifications that rows are due, until the next request.
// Passes come often enough without them. But a row that is replayed while the log is
// read would wait for the next survey.
func (s *readSession) awaitWakes(ctx context.Context) {
	idle, cancel := context.WithCancel(ctx)
	defer cancel()
	s.idle.begin(cancel)
	defer s.idle.begin(nil)
	for s.session != nil && len(s.requests) == 0 && idle.Err() == nil {
		woken, err := s.session.AwaitWake(ctx, idle)
		if err != nil && idle.Err() == nil {
			s.close() // the next request opens another
		}
		if woken {
			select {
			case s.woken <- struct{}{}:
			default:
			}
		}
	}
}

func (s *readSession) answer(ctx context.Context, req readRequest) readResult {
	start := time.Now()
	res := readResult{kind: req.kind}
	if s.session == nil {
		if s.session, res.err = s.database.OpenReader(ctx, s.control); res.err != nil {
			s.session = nil
			res.err = fmt.Errorf("open the session that reads: %w", res.err)
			return res
		}
	}
	switch req.kind {
	case noteFrame, beginPass:
		res.pass, res.err = s.session.Begin(ctx)
	case readChunk, refillKey, readExpired, refillTail:
		res.chunk, res.err = s.session.Chunk(ctx, req.chunk)
		faultpoint("during-pass")
	case readSurvey:
		res.survey, res.err = s.session.Survey(ctx, req.chunk)
		faultpoint("during-survey")
	case readSnapshot:
		res.snapshot, res.err = s.session.Snapshot(ctx)
	case inspectTail:
		res.lag, res.err = s.session.InspectTail(ctx, req.tail)
		if errors.Is(res.err, relay.ErrNoTail) {
			res.refusal, res.err = res.err, nil
		}
	case noStatement:
	}
	if res.err != nil {
		s.close()
		res.err = fmt.Errorf("read: %w", res.err)
	}
	res.took = time.Since(start)
	return res
}

func (s *readSession) close() {
	if s.session != nil {
		s.session.Close()
		s.session = nil
	}
}
