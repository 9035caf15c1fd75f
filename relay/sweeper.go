package relay

import (
	"context"
	"fmt"
	"time"
)

// sweeper does what the loop asks of the sweep session, one statement at a
// time: it opens the session when it has none, begins passes, reads chunks. It
// owns the session, decides nothing, and never waits for the sink, since each
// statement's result is in memory when it answers.
type sweeper struct {
	database Database
	control  Control
	session  Sweep

	requests chan sweepRequest
	results  chan sweepResult
}

// sweepRequest asks for the beginning of a pass, or for a chunk of one.
type sweepRequest struct {
	begin bool
	chunk ChunkRequest
}

// sweepResult answers a request. After an error the session has been closed;
// the next request opens another.
type sweepResult struct {
	begin bool
	pass  Pass
	chunk Chunk
	took  time.Duration
	err   error
}

func newSweeper(db Database, c Control) *sweeper {
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
	res := sweepResult{begin: req.begin}
	if s.session == nil {
		if s.session, res.err = s.database.OpenSweep(ctx, s.control); res.err != nil {
			s.session = nil
			res.err = fmt.Errorf("open sweep session: %w", res.err)
			return res
		}
	}
	if req.begin {
		res.pass, res.err = s.session.Begin(ctx)
	} else {
		res.chunk, res.err = s.session.Chunk(ctx, req.chunk)
		faultpoint("during-sweep")
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
