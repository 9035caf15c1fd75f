package postgres

import (
	"sync/atomic"

	"github.com/outbox-relay/outbox-relay/relay"
)

// pace chooses how many rows to ask for, so that a scan does not read many more
// than fit the chunk. It outlives a session: when a statement was too slow to
// end before its deadline, the next session asks for less. Safe for concurrent
// use.
type pace struct {
	average atomic.Int64 // bytes of a row, of the last chunk; 0 if unknown
	ceiling atomic.Int64 // rows at once, after timeouts; 0 for none
}

// minRows is the least that is asked for without a ceiling, so that one large row does
// not slow the next chunks to a crawl.
const minRows = 32

func (p *pace) rows(req relay.ChunkRequest) int {
	rows := int64(req.Rows)
	if average := p.average.Load(); average > 0 {
		// Twice as many as are expected to fit: too many is cheap, too few takes another
		// statement.
		rows = min(rows, max(minRows, 2*req.Bytes/average))
	}
	if ceiling := p.ceiling.Load(); ceiling > 0 {
		rows = min(rows, ceiling)
	}
	return int(rows)
}

func (p *pace) observe(r *scanned) {
	if n := int64(len(r.entries)); n > 0 {
		p.average.Store(max(1, r.bytes/n))
	}
	if ceiling := p.ceiling.Load(); ceiling > 0 {
		p.ceiling.Store(ceiling * 2)
		if ceiling > maxCeiling {
			p.ceiling.Store(0)
		}
	}
}

// tooSlow is told of a statement that did not end before its deadline.
func (p *pace) tooSlow() {
	ceiling := p.ceiling.Load()
	if ceiling == 0 {
		ceiling = maxCeiling
	}
	p.ceiling.Store(max(1, ceiling/4))
}

// maxCeiling rows at once are as good as no ceiling.
const maxCeiling = 16384
