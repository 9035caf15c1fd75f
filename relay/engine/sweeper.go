package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// sweeper does what the loop asks of the sweep session, one statement at a
// time: it opens the session when it has none, begins passes, reads chunks. It
// owns the session, decides nothing, and never waits for the sink, since each
// statement's result is in memory when it answers.
type sweeper struct {
	database relay.Database
	control  relay.Control
	session  relay.Sweep

	requests chan sweepRequest
	results  chan sweepResult
}

// sweepRequest asks for one thing.
type sweepRequest struct {
	kind  statement
	chunk relay.ChunkRequest // of readChunk, refillKey and readSurvey
	tail  relay.Tail         // of inspectTail
}

// sweepResult answers a request. After an error the session has been closed;
// the next request opens another.
type sweepResult struct {
	kind     statement
	pass     relay.Pass
	chunk    relay.Chunk
	survey   relay.Survey
	snapshot wal.Snapshot
	lag      relay.TailLag
	refusal  error // why the tail is not to be trusted
	took     time.Duration
	err      error
}

func newSweeper(db relay.Database, c relay.Control) *sweeper {
	return &sweeper{
		database: db,
		control:  c,
		requests: make(chan sweepRequest, 1),
		results:  make(chan sweepResult, 1),
	}
}

// run answers requests until ctx ends. Each request gets one result, and the
// loop sends no second request before it has the first one's result, so
// neither channel ever blocks.
func (s *sweeper) run(ctx context.Context) {
	defer s.close()
	for {
		select {
		case <-ctx.Done():
			return
		case req := <-s.requests:
			s.results <- s.answer(ctx, req)
		}
	}
}

func (s *sweeper) answer(ctx context.Context, req sweepRequest) sweepResult {
	start := time.Now()
	res := sweepResult{kind: req.kind}
	if s.session == nil {
		if s.session, res.err = s.database.OpenSweep(ctx, s.control); res.err != nil {
			s.session = nil
			res.err = fmt.Errorf("open sweep session: %w", res.err)
			return res
		}
	}
	switch req.kind {
	case beginPass:
		res.pass, res.err = s.session.Begin(ctx)
	case readChunk, refillKey:
		res.chunk, res.err = s.session.Chunk(ctx, req.chunk)
		faultpoint("during-sweep")
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
		res.err = fmt.Errorf("sweep: %w", res.err)
	}
	res.took = time.Since(start)
	return res
}

func (s *sweeper) close() {
	if s.session != nil {
		s.session.Close()
		s.session = nil
	}
}
