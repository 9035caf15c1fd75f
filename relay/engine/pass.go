package engine

import (
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Bounds of a pass.
const (
	// passTurn is how long a pass may last before it makes way for another, which sees
	// the rows that have become due meanwhile. So in a long backlog no retry and no
	// scheduled row waits much longer than this.
	passTurn = 2 * time.Second
	// passWorth is how many windows of rows a pass brings before it makes way, so that
	// a slow first statement pays off. After slowTurn one row is enough.
	passWorth = 16
	slowTurn  = time.Minute
	// readAhead is how many windows of rows are kept in memory.
	readAhead = 4
	// quickPass: a tail is opened only after a complete pass that was shorter than
	// this. A survey takes about as long as a pass, and the log waits for it, so this
	// is half of the time that a tail may wait. A million rows behind a head that waits
	// take a second.
	quickPass = unreadLimit / 2
)

// pass is one run over the table, in chunks in id order. It is made when the run
// begins and dropped whole when it ends.
//
// Every pass starts at the lowest id. If a cursor outlived its pass, it would step over
// a row that commits when rows with larger ids have gone. A pass ends at the largest id
// that its first snapshot saw. A row that commits after a newer row of its key has a
// larger id, and waits for the next pass too.
type pass struct {
	frame   relay.Pass // what the first statement found
	cursor  int64
	scanned bool // the cursor is at the end
	parked  parkedKeys
	// refilled says that the last statement was a refill, so that a chunk has its turn.
	refilled bool
	taken    int // rows brought into memory
	// metNewer says that the pass has met a row that is newer than itself, and has left it
	// to the next pass. The pass ends: the rows that follow are likely to be newer too.
	metNewer bool
	// nextSize is the size of the row that did not fit into the last chunk, in bytes; 0
	// if there was none.
	nextSize int64
	// abandoned says that the pass ends when the statement that is out is answered.
	abandoned bool
}

func newPass() *pass { return &pass{cursor: math.MinInt64} }

// done says whether there is nothing left to read.
func (p *pass) done() bool { return p.scanned && p.parked.empty() }
