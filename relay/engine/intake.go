package engine

import (
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// passState says where the running pass is.
type passState uint8

const (
	passNone      passState = iota // none is running
	passBeginning                  // its first statement is running
	passOpen                       // no statement is running
	passReading                    // a chunk is being read
	passRefilling                  // rows of one parked key are being read
)

var passStateNames = [...]string{"none", "beginning", "open", "reading", "refilling"}

// String returns the state in lower case.
func (s passState) String() string { return passStateNames[s] }

// Bounds of a pass.
const (
	// passTurn is how long a pass may last before it makes way for another, which
	// sees what has become due meanwhile: in a long backlog no retry and no
	// scheduled row waits much longer for its turn.
	passTurn = 2 * time.Second
	// passWorth windows of rows have to be taken in before: a pass that began with
	// a slow statement has to be worth it. After slowTurn any row will do.
	passWorth = 16
	slowTurn  = time.Minute
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
//
// A key whose chain is full is parked: the pass reads on without it, and reads
// its rows, from where it was parked, as the chain empties. Like all of the pass
// they are bounded, so to them it is a slow pass and nothing else.
type intake struct {
	limits       bufferLimits
	dispatcher   *dispatcher
	flight       *inFlight
	holds        *holds
	pace         pacer
	requests     chan<- sweepRequest
	messageLimit func() int64

	state   passState
	pass    relay.Pass
	cursor  int64
	scanned bool             // the cursor is at the end
	parked  map[string]int64 // of a parked key, the id to go on after
	refill  string           // the key of passRefilling
	taken   int              // rows this pass has brought
	// late says that the pass has met a row that it has to leave to the next one, and
	// ends: what follows is likely to be late too, and would be read for nothing.
	late bool
	// Of the row that did not fit into the last chunk, or the last refill.
	nextSize, refillSize int64
	// overflowed says that the row taken in last found its key's chain full.
	overflowed bool
	// quick says that the last pass read all there was, in no time.
	quick bool
	// abandoned says that the statement now running is the last of its pass.
	abandoned bool
}

// bufferLimits bound the rows in memory, those in flight included.
type bufferLimits struct {
	rows  int
	bytes int64
}

// window is how many rows are worth a statement.
func (l bufferLimits) window() int { return l.rows / readAhead }

// advance asks the sweeper for what is wanted next, if anything is.
func (in *intake) advance(now time.Time) {
	switch in.state {
	case passNone:
		if in.pace.until(now) == 0 {
			in.begin(now)
		}
	case passOpen:
		switch {
		case in.late:
			in.end(now, false)
		case in.scanned && len(in.parked) == 0:
			in.end(now, true)
		case in.turnIsOver(now) || in.holds.full():
			in.end(now, false)
		case !in.scanned && in.readChunk():
		default:
			in.readParked()
		}
	case passBeginning, passReading, passRefilling:
	}
}

// turnIsOver says whether the pass has to make way for the next one: where only
// parked keys are left, as soon as that may begin, so that other keys wait no
// longer for a pass than without the hot ones.
func (in *intake) turnIsOver(now time.Time) bool {
	age := now.Sub(in.pace.began)
	if in.scanned {
		return age > max(in.pace.interval, in.pace.rest())
	}
	return age > passTurn && in.taken >= passWorth*in.limits.window() || age > slowTurn && in.taken > 0
}

func (in *intake) begin(now time.Time) {
	in.state, in.abandoned = passBeginning, false
	in.cursor, in.scanned, in.taken, in.late = math.MinInt64, false, 0, false
	in.nextSize, in.refillSize = 0, 0
	in.parked = make(map[string]int64)
	in.pace.passBegins(now)
	in.holds.passBegins()
	in.send(sweepRequest{kind: askBegin})
}

// readChunk asks for the next chunk once a worthwhile one fits the buffer, and
// says whether it did. A row larger than the buffer is asked for when nothing
// else is in memory.
func (in *intake) readChunk() bool {
	memory := in.dispatcher.memory()
	rows := min(in.limits.rows-memory.rows, in.limits.window())
	free := in.limits.bytes - memory.bytes
	if memory.bytes == 0 {
		free = max(free, in.nextSize)
	}
	if rows < max(1, in.limits.window()/2) || free < max(in.limits.bytes/readAhead, in.nextSize) {
		return false
	}
	in.state = passReading
	req := in.request(in.cursor, rows, free)
	req.ExcludeKeys = in.holds.excluded()
	for key := range in.parked {
		req.ExcludeKeys = append(req.ExcludeKeys, key)
	}
	in.send(sweepRequest{kind: askChunk, chunk: req})
	return true
}

// readParked asks for rows of a parked key whose chain is half empty. The chains
// of hot keys get no more than half of the buffer, so that others find room.
func (in *intake) readParked() {
	memory := in.dispatcher.memory()
	free := in.limits.bytes/2 - memory.bytes
	if memory.rows > in.limits.rows/2 || free <= 0 {
		return
	}
	for key, after := range in.parked {
		waiting := in.dispatcher.waiting(key)
		switch {
		case in.holds.blocks(key): // refused meanwhile: for the next pass
			delete(in.parked, key)
			continue
		case waiting > in.dispatcher.chain/2:
			continue
		}
		in.state, in.refill = passRefilling, key
		// A row that is larger than what is free is asked for all the same: it is
		// one of a kind, and the chain is short.
		req := in.request(after, in.dispatcher.chain-waiting, max(free, in.refillSize))
		req.OnlyKey = &key
		in.send(sweepRequest{kind: askChunk, chunk: req})
		return
	}
}

func (in *intake) send(req sweepRequest) {
	in.flight.statementBegins()
	in.requests <- req
}

func (in *intake) request(after int64, rows int, bytes int64) relay.ChunkRequest {
	return relay.ChunkRequest{Pass: in.pass, After: after, Rows: rows, Bytes: bytes, MaxMessageBytes: in.messageLimit()}
}

// result takes in what the sweeper brought, or ends the pass after an error.
func (in *intake) result(res sweepResult, now time.Time) {
	state := in.state
	in.state = passOpen
	switch {
	case res.err != nil || in.abandoned:
		in.end(now, false)
	case state == passBeginning:
		in.pass = res.pass
		in.pace.read(res.took, 0)
	case state == passRefilling:
		in.refilled(res)
	default:
		in.pace.read(res.took, in.takeAll(res.chunk.Rows))
		in.cursor, in.nextSize, in.scanned = res.chunk.Cursor, res.chunk.NextSize, res.chunk.Done
	}
	in.flight.statementEnded()
}

// refilled takes in rows of the key that was parked. It stays parked, after the
// last of them, unless there are no more.
func (in *intake) refilled(res sweepResult) {
	delete(in.parked, in.refill)
	in.pace.read(res.took, in.takeAll(res.chunk.Rows))
	in.refillSize = res.chunk.NextSize
	if _, full := in.parked[in.refill]; !full && !res.chunk.Done && !in.holds.blocks(in.refill) {
		in.parked[in.refill] = res.chunk.Cursor
	}
}

// takeAll takes in the rows of a chunk and returns how many it took.
func (in *intake) takeAll(rows []relay.Row) int {
	taken := 0
	for _, row := range rows {
		if in.take(row) {
			taken++
		}
	}
	in.taken += taken
	return taken
}

// take hands one row to the dispatcher, unless it is on its way already or has
// to wait for another row of its key.
//
// Schedule that reorders, which is why late rows are left to the next pass: a
// transaction inserts rows 1 and 9 of a key while others insert 2 to 8 and 10,
// and commit; the pass begins, bounded by 10, and its first chunk ends with 5; the
// transaction commits; the second chunk brings 9, and the pass has gone by 1.
func (in *intake) take(row relay.Row) bool {
	m := row.Message
	in.overflowed = false
	if in.flight.has(m.Ref) {
		return false
	}
	if in.dispatcher.ordered(m) {
		if _, parked := in.parked[m.Key]; parked || in.holds.blocks(m.Key) {
			return false
		}
		if row.Wait > 0 || row.Late {
			in.holds.hold(m.Key)
			in.late = in.late || row.Late
			return false
		}
	}
	if row.Wait > 0 {
		return false
	}
	it := &item{Message: m}
	if !in.dispatcher.add(it) {
		in.overflow(m)
		return false
	}
	in.flight.add(it)
	return true
}

// overflow leaves the row, and those of its key that follow, in the table: a pass
// comes back to it, a survey has no second look and holds the key.
func (in *intake) overflow(m *relay.Message) {
	if in.state == passNone {
		in.holds.hold(m.Key)
		in.overflowed = true
		return
	}
	in.parked[m.Key] = m.ID - 1
}

// abandon ends the pass early: at once, or when the running statement is done.
// What it would have brought stays in the table for the next one.
func (in *intake) abandon() {
	switch in.state {
	case passNone:
	case passOpen:
		in.end(time.Now(), false)
	case passBeginning, passReading, passRefilling:
		in.abandoned = true
	}
}

// keepsUp says whether the passes have nothing to catch up with.
func (in *intake) keepsUp() bool { return in.quick }

// end ends the pass, complete or not.
func (in *intake) end(now time.Time, complete bool) {
	in.state, in.parked = passNone, nil
	in.quick = complete && now.Sub(in.pace.began) < quickPass
	in.pace.passEnded(now, complete)
}
