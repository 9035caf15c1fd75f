package relay

import (
	"math"
	"time"
)

// passState says where the running pass is.
type passState uint8

const (
	passNone      passState = iota // none is running
	passBeginning                  // its first statement is running
	passOpen                       // no statement is running
	passReading                    // a chunk is being read
)

var passStateNames = [...]string{"none", "beginning", "open", "reading"}

// String returns the state in lower case.
func (s passState) String() string { return passStateNames[s] }

// Bounds of a pass.
const (
	// passTurn is how long a pass may last before it makes way for another,
	// which sees what has become due meanwhile: in a long backlog no retry and no
	// scheduled row waits longer for its turn.
	passTurn = 5 * time.Second
	// maxHeldKeys is how many keys one pass may find held before it ends. A
	// broker that refuses so many keys is not sent others, and the memory that
	// holds take stays bounded.
	maxHeldKeys = 50_000
	// readAhead is how many windows full of rows are kept in memory.
	readAhead = 4
)

// intake runs the passes: it decides what the sweeper reads next and takes in
// the rows that it brings. A pass is a run of chunks in id order.
//
// Every pass starts again at the lowest id, because a cursor that outlived its
// pass would step over a row with a low id that commits late. A pass is bounded
// by the largest id its first snapshot saw: a row of the same key that commits
// after that late one has a larger id, and waits for the next pass with it.
type intake struct {
	limits       bufferLimits
	dispatcher   *dispatcher
	flight       *inFlight
	holds        *holds
	pace         pacer
	requests     chan<- sweepRequest
	messageLimit func() int64

	state    passState
	pass     Pass
	cursor   int64
	began    time.Time
	held     int   // keys that this pass found held
	nextSize int64 // of the row that did not fit into the last chunk
	// abandoned says that the statement now running is the last of its pass.
	abandoned bool
}

// bufferLimits bound the rows in memory, those in flight included.
type bufferLimits struct {
	rows  int
	bytes int64
}

// advance asks the sweeper for what is wanted next, if anything is.
func (in *intake) advance(now time.Time) {
	switch in.state {
	case passNone:
		if in.pace.until(now) == 0 {
			in.begin(now)
		}
	case passOpen:
		if now.Sub(in.began) > passTurn || in.held > maxHeldKeys {
			in.abandon()
			return
		}
		in.readChunk()
	case passBeginning, passReading:
	}
}

func (in *intake) begin(now time.Time) {
	in.state, in.abandoned = passBeginning, false
	in.cursor, in.held, in.nextSize = math.MinInt64, 0, 0
	in.began = now
	in.pace.passBegins(now)
	in.flight.passBegins()
	in.holds.passBegins()
	in.requests <- sweepRequest{begin: true}
}

// readChunk asks for the next chunk once a worthwhile one fits the buffer. A
// row larger than the buffer is asked for when nothing else is in memory.
func (in *intake) readChunk() {
	memory := in.dispatcher.memory()
	rows := min(in.limits.rows-memory.rows, in.limits.rows/readAhead)
	free := in.limits.bytes - memory.bytes
	if memory.rows == 0 {
		free = max(free, in.nextSize)
	}
	if rows < in.limits.rows/readAhead/2 || free < in.limits.bytes/readAhead || free < in.nextSize {
		return
	}
	in.state = passReading
	in.requests <- sweepRequest{chunk: ChunkRequest{
		Pass:            in.pass,
		After:           in.cursor,
		Rows:            max(1, rows),
		Bytes:           free,
		MaxMessageBytes: in.messageLimit(),
		ExcludeKeys:     in.holds.excluded(),
	}}
}

// result takes in what the sweeper brought, or ends the pass after an error.
func (in *intake) result(res sweepResult, now time.Time) {
	if res.err != nil || in.abandoned {
		in.end(now, false)
		return
	}
	in.state = passOpen
	if res.begin {
		in.pass = res.pass
		in.flight.passBounded(res.pass.Bound)
		in.pace.read(res.took, 0)
		return
	}
	taken := 0
	for _, row := range res.chunk.Rows {
		if in.take(row) {
			taken++
		}
	}
	in.pace.read(res.took, taken)
	in.cursor, in.nextSize = res.chunk.Cursor, res.chunk.NextSize
	in.flight.passReached(in.cursor)
	if res.chunk.Done {
		in.end(now, true)
	}
}

// take hands one row to the dispatcher, unless it is on its way already or has
// to wait for another row of its key.
func (in *intake) take(row Row) bool {
	m := row.Message
	switch ordered := in.dispatcher.ordered(m); {
	case in.flight.has(m.Ref):
		return false
	case ordered && in.holds.blocks(m.Key):
		return false
	case row.Wait > 0:
		if ordered {
			in.hold(m.Key)
		}
		return false
	case !in.dispatcher.add(m):
		in.hold(m.Key)
		return false
	}
	in.flight.add(m)
	return true
}

func (in *intake) hold(key string) {
	in.holds.drop(key)
	in.held++
}

// abandon ends the pass early: at once, or when the running statement is done.
// What it would have brought stays in the table for the next one.
func (in *intake) abandon() {
	switch in.state {
	case passNone:
	case passOpen:
		in.end(time.Now(), false)
	case passBeginning, passReading:
		in.abandoned = true
	}
}

func (in *intake) end(now time.Time, complete bool) {
	in.state = passNone
	in.flight.passEnded()
	if complete {
		in.holds.passCompleted()
	} else {
		in.holds.passAbandoned()
	}
	in.pace.passEnded(now)
}
