package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// intake decides what the relay reads next while it polls, and hands the rows that
// come, from passes and from surveys, to the dispatcher.
type intake struct {
	memory
	limits       bufferLimits
	pace         pacer
	reader       *reader
	messageLimit func() int64

	pass *pass // nil while none is running
	// quick says that the last pass was complete and shorter than quickPass.
	quick bool
}

// bufferLimits bound the rows in memory, those in flight included.
type bufferLimits struct {
	rows  int
	bytes int64
}

// window is MaxInFlight: the buffer holds readAhead windows of rows.
func (l bufferLimits) window() int { return l.rows / readAhead }

// running says whether a pass is running.
func (in *intake) running() bool { return in.pass != nil }

// advance asks for the next statement of a pass, if one is due.
func (in *intake) advance(now time.Time) {
	p := in.pass
	switch {
	case in.reader.busy():
	case p == nil:
		if in.pace.until(now) == 0 {
			in.begin(now)
		}
	case p.metNewer:
		in.end(now, false)
	case p.done():
		in.end(now, true)
	case in.turnIsOver(now):
		in.end(now, false)
	default:
		in.readOn()
	}
}

// readOn asks for a chunk or for a refill. They take turns while both are wanted. A pass
// that leaves out the keys of a long backlog has to walk over all of it. If refills waited
// for its end, the chains of those keys would be empty meanwhile.
func (in *intake) readOn() {
	p := in.pass
	if !p.refilled && in.refillParked() {
		p.refilled = true
		return
	}
	p.refilled = false
	if p.scanned || !in.readChunk() {
		in.refillParked()
	}
}

// turnIsOver says whether the pass has to make way for the next one. If only parked
// keys are left, it makes way as soon as the next may begin. So other keys wait no
// longer for a pass than they would without the hot keys.
func (in *intake) turnIsOver(now time.Time) bool {
	age := now.Sub(in.pace.began)
	if in.pass.scanned {
		return age > max(in.pace.interval, in.pace.rest())
	}
	return age > passTurn && in.pass.taken >= passWorth*in.limits.window() || age > slowTurn && in.pass.taken > 0
}

func (in *intake) begin(now time.Time) {
	in.pass = newPass()
	in.pace.passBegins(now)
	in.holds.snapshotBegins()
	in.topics.snapshotBegins()
	in.reader.ask(readRequest{kind: beginPass})
}

// readChunk asks for the next chunk if the buffer has enough room to make a statement
// worthwhile, and says whether it did. It asks for a row that is larger than the buffer
// when nothing else is in memory.
func (in *intake) readChunk() bool {
	p, memory := in.pass, in.dispatcher.memory()
	rows := min(in.limits.rows-memory.rows, in.limits.window())
	free := in.limits.bytes - memory.bytes
	if memory.bytes == 0 {
		free = max(free, p.nextSize)
	}
	if rows < max(1, in.limits.window()/2) || free < max(in.limits.bytes/readAhead, p.nextSize) {
		return false
	}
	req := in.request(p.frame, p.cursor, rows, free)
	req.ExcludeKeys = p.parked.appendTo(in.holds.excluded())
	in.reader.ask(readRequest{kind: readChunk, chunk: req})
	return true
}

// refillParked asks for rows of a key that the pass has parked, if its chain has room, and
// says whether it did.
func (in *intake) refillParked() bool {
	req, wanted := in.refill(&in.pass.parked, func(string) relay.Pass { return in.pass.frame })
	if wanted {
		in.reader.ask(readRequest{kind: refillKey, chunk: req})
	}
	return wanted
}

// refill returns the request for rows of a parked key whose chain is half empty, if
// there is such a key. The chains of hot keys get no more than half of the buffer, so
// that others find room. frame is the pass, or the survey, that has parked the key.
func (in *intake) refill(parked *parkedKeys, frame func(key string) relay.Pass) (relay.ChunkRequest, bool) {
	if parked.empty() {
		return relay.ChunkRequest{}, false // nearly always
	}
	memory := in.dispatcher.memory()
	free := in.limits.bytes/2 - memory.bytes
	overHalf := memory.rows > in.limits.rows/2 || free <= 0
	if overHalf {
		// Rows that come by the log may fill the rest of the buffer for long. A key
		// without a row in memory would wait for as long.
		free = in.limits.bytes - memory.bytes
	}
	if memory.rows >= in.limits.rows || free <= 0 {
		return relay.ChunkRequest{}, false
	}
	next, found := parked.next(in.dispatcher, in.holds, overHalf)
	if !found {
		return relay.ChunkRequest{}, false
	}
	// A row that is larger than the free space is asked for all the same: it is only
	// one row, and its chain is short.
	req := in.request(frame(next.key), next.after, next.rows, max(free, parked.nextSize))
	req.OnlyKey = &next.key
	return req, true
}

func (in *intake) request(frame relay.Pass, after int64, rows int, bytes int64) relay.ChunkRequest {
	return relay.ChunkRequest{
		Pass: frame, After: after, Rows: rows, Bytes: bytes, MaxMessageBytes: in.messageLimit(),
		TopicRows: in.topics.rows(), Unordered: in.dispatcher.ordering == OrderNone,
	}
}

// result handles the result of a statement of the pass. After an error the pass ends.
func (in *intake) result(res readResult, now time.Time) {
	p := in.pass
	if res.err != nil || p.abandoned {
		in.end(now, false)
		return
	}
	switch res.kind {
	case beginPass:
		p.frame = res.pass
		in.pace.read(res.took, 0)
	case refillKey:
		p.parked.unpark()
		in.pace.read(res.took, in.takeAll(res.chunk.Rows))
		p.parked.refilled(res.chunk, in.holds)
	default: // readChunk
		in.pace.read(res.took, in.takeAll(res.chunk.Rows))
		p.cursor, p.nextSize, p.scanned = res.chunk.Cursor, res.chunk.NextSize, res.chunk.Done
	}
}

// takeAll hands the rows of a chunk to the dispatcher, and returns how many went there.
func (in *intake) takeAll(rows []relay.Row) int {
	p, before := in.pass, in.pass.taken
	for _, row := range rows {
		switch in.take(row) {
		case rowTaken:
			p.taken++
		case rowNewer:
			p.metNewer = true
		case rowFull:
			p.parked.park(row.Message)
		case rowTakenBefore, rowHeld, rowWaiting, rowLeft:
		}
	}
	return p.taken - before
}

// abandon ends the pass early: at once, or when the statement that is out has been
// answered. The rows that it would have brought stay in the table for the next one.
func (in *intake) abandon() {
	switch {
	case in.pass == nil:
	case in.reader.busy():
		in.pass.abandoned = true
	default:
		in.end(time.Now(), false)
	}
}

// keepsUp says whether passes keep up with the table: the last one was complete and
// quick.
func (in *intake) keepsUp() bool { return in.quick }

// end ends the pass, complete or not.
func (in *intake) end(now time.Time, complete bool) {
	in.pass = nil
	if complete {
		in.topics.complete()
	}
	in.quick = complete && now.Sub(in.pace.began) < quickPass
	in.pace.passEnded(now, complete)
}
