package engine

import (
	"maps"
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What a tail does with rows: those that come by the log, those that surveys bring, and
// those that return to the table.

// read acts on an event of the log.
func (t *tail) read(ev relay.TailEvent, now time.Time) {
	if missed := t.horizon.passed(ev.Position); missed > 0 {
		t.missed += missed
		t.lag.inspectNow() // the publication may have lost the table
	}
	m := ev.Message
	if m == nil {
		return
	}
	in := t.intake
	held := in.dispatcher.ordered(m) && ((in.holds.blocks(m.KeyName()) || t.parked.has(m.KeyName())) || t.blocks(m))
	switch t.horizon.judge(ev, in.taken.has(m.Ref), held) {
	case eventSkip:
		t.horizon.confirmed(m.Ref)
	case eventWait:
		t.horizon.keep(ev, now)
	case eventLeave:
		t.leaveToTable(ev, now)
	case eventTake:
		t.take(&item{Message: m, xid: ev.XID}, now)
	}
}

// blocks says whether a dead row blocks the row's key, as the newest survey saw it. A
// row that has died since then holds its key until the next survey.
func (t *tail) blocks(m *relay.Message) bool {
	after, blocked := t.blocked[m.KeyName()]
	return blocked && m.ID > after
}

// readAgain judges the event that was kept back, if there is one.
func (t *tail) readAgain(now time.Time) {
	if ev, ok := t.horizon.gate.giveOut(); ok {
		t.read(ev, now)
	}
}

// leaveToTable leaves a row to the survey that comes when it is due, or that ends
// the hold of its key.
func (t *tail) leaveToTable(ev relay.TailEvent, now time.Time) {
	t.horizon.leave(ev.XID)
	if ev.Due {
		return
	}
	if in := t.intake; ev.Message.Attempts > 0 && in.dispatcher.ordered(ev.Message) {
		in.holds.hold(ev.Message.KeyName())
	}
	if ev.Wait >= 0 {
		t.surveys.wakeAt(now.Add(ev.Wait))
	}
}

// take hands a row to the dispatcher. If its chain is full, its key is held, and a
// survey brings the row.
func (t *tail) take(m *item, now time.Time) {
	if t.intake.topics.has(m.Topic) {
		t.leaveOfTopic(m, now)
		return
	}
	if !t.intake.dispatcher.add(m) {
		t.intake.holds.hold(m.KeyName())
		t.horizon.leave(m.xid)
		t.surveys.wakeAt(now)
		return
	}
	t.intake.taken.add(m)
}

// leaveOfTopic leaves a row of a full topic to surveys, which bring the oldest ones first.
//
// Schedule that reorders: row 1 of a key is of a full topic and stays in the table. Row 2
// is of another topic. If it were published, the key would be delivered as 2, 1.
func (t *tail) leaveOfTopic(m *item, now time.Time) {
	in := t.intake
	if in.dispatcher.ordered(m.Message) {
		in.holds.leave(m.KeyName())
	}
	t.horizon.leave(m.xid)
	in.topics.meet(m.Topic)
	if in.topics.wants(m.Topic) {
		t.surveys.wakeAt(now)
	}
}

// survey asks for all due rows, as one snapshot sees them.
func (t *tail) survey(now time.Time) {
	t.surveys.begins(now)
	t.horizon.surveyBegins()
	in := t.intake
	// Schedule that reorders: rows 1 to 100 of a key are in memory, and it is parked after
	// them. Row 1 is refused, so 2 to 100 return, and the key is held. If the survey left
	// it out as parked and ended its hold, a refill would bring 101 before 2.
	t.parked.unparkHeld(in.holds)
	in.holds.snapshotBegins()
	in.topics.snapshotBegins()
	// The survey brings the rows that are in memory once more. It may take half a
	// buffer, so that both together are bounded.
	req := in.request(relay.Pass{}, math.MinInt64, in.limits.rows, in.limits.bytes/2)
	req.ExcludeKeys = t.parked.appendTo(in.holds.excluded())
	req.TopicRows = in.topics.rowsBeside(in.taken)
	if in.dispatcher.ordering == OrderByKey {
		req.KeyRows = in.dispatcher.chain
	}
	t.reader.ask(readRequest{kind: readSurvey, chunk: req})
}

// takeSurvey handles the rows of a survey, and moves the horizon to it or has another
// survey made.
func (t *tail) takeSurvey(s relay.Survey, now time.Time) {
	switch {
	case !s.Complete:
		t.leave(now, "catching up: more rows are due, or wait for their retry, than the buffer takes, or PostgreSQL fails on one of them", nil)
		return
	case t.surveys.overdue, !t.horizon.covers(s.Snapshot):
		t.surveys.demand()
		t.horizon.restores = true // of keys whose holds this survey has ended
		return
	}
	t.horizon.moveTo(s)
	t.blocked = s.Blocked
	maps.DeleteFunc(t.frames, func(key string, _ relay.Pass) bool { return !t.parked.has(key) })
	left := s.Left
	for _, row := range s.Rows {
		left = t.holdLeft(left, row.ID)
		t.takeRow(row, s, now)
	}
	t.holdLeft(left, math.MaxInt64)
	t.intake.topics.complete()
	for key, after := range s.Cut {
		t.park(key, after, s.Frame)
	}
	if s.NextScheduled > 0 {
		t.surveys.wakeAt(now.Add(s.NextScheduled))
	}
	if t.phase == tailJoining {
		t.enter(tailStarting, now)
		close(t.stream.begin)
	}
	t.readAgain(now)
}

// holdLeft holds the keys of the rows up to that id that the survey has left in the table,
// and returns the others.
func (t *tail) holdLeft(left []relay.LeftRow, upTo int64) []relay.LeftRow {
	for len(left) > 0 && left[0].ID <= upTo {
		// If the key is parked, an earlier row of it found the chain full. The refills
		// will come to this row.
		if !t.parked.has(left[0].Key) {
			t.intake.holds.leave(left[0].Key)
		}
		left = left[1:]
	}
	return left
}

func (t *tail) takeRow(row relay.Row, s relay.Survey, now time.Time) {
	in := t.intake
	if t.parked.has(row.KeyName()) && in.dispatcher.ordered(row.Message) {
		in.topics.meet(row.Topic)
		return // behind a row that found its key's chain full
	}
	wasHeld := in.dispatcher.ordered(row.Message) && in.holds.wasHeld(row.KeyName())
	wasLeft := in.topics.has(row.Topic) // perhaps the row was left when it came by the log
	admitted := in.take(row)
	switch {
	case row.Wait > 0:
		t.surveys.wakeAt(now.Add(row.Wait))
	case admitted == rowFull:
		t.park(row.KeyName(), row.ID-1, s.Frame)
	case admitted == rowTaken && !wasHeld && !wasLeft && row.Attempts == 0 && !row.Scheduled && !row.Refused:
		t.horizon.brought(row.Ref, s.Position)
	}
}

// park leaves the rows of the key after that id to refills, which read what the survey
// saw.
func (t *tail) park(key string, after int64, frame relay.Pass) {
	if t.intake.holds.blocks(key) || t.parked.has(key) {
		return
	}
	if t.frames == nil {
		t.frames = make(map[string]relay.Pass)
	}
	t.frames[key] = frame
	t.parked.parkAfter(key, after)
}

// refillParked asks for rows of a parked key.
func (t *tail) refillParked() {
	frame := func(key string) relay.Pass { return t.frames[key] }
	if req, wanted := t.intake.refill(&t.parked, frame); wanted {
		t.reader.ask(readRequest{kind: refillTail, chunk: req})
	}
}

// refilled handles rows of a parked key. When all rows that the survey saw are read,
// the key is held until another survey has seen the rows that came by the log
// meanwhile.
//
// Schedule that reorders: rows 1 to 2000 of a key are in the table. A survey brings 1
// to 1000. Row 2001 comes by the log, and is published before 1001.
func (t *tail) refilled(c relay.Chunk, now time.Time) {
	in, key := t.intake, t.parked.refilling
	if !t.parked.has(key) {
		return // all rows were returned to the table meanwhile
	}
	t.parked.unpark()
	for _, row := range c.Rows {
		switch in.take(row) {
		case rowFull:
			t.parked.park(row.Message)
		case rowWaiting:
			t.surveys.wakeAt(now.Add(row.Wait))
		case rowNewer:
			t.surveys.wakeAt(now)
		case rowTaken, rowTakenBefore, rowHeld, rowLeft:
		}
		if t.parked.has(key) {
			break
		}
	}
	t.parked.refilled(c, in.holds)
	if !t.parked.has(key) && !in.holds.blocks(key) {
		in.holds.hold(key)
		t.surveys.wakeAt(now)
	}
}

// returned notes that a row has left memory unpublished.
func (t *tail) returned(m *item) {
	if m.xid != 0 && t.phase == tailReading {
		t.horizon.leave(m.xid)
	}
}

// allReturned notes that everything unpublished has left memory: a survey has to come
// before more of the log is read.
func (t *tail) allReturned(now time.Time) {
	switch t.phase {
	case tailReading:
		t.surveys.demand() // also if a survey is out, because it has begun too early
		for key := range t.parked.after {
			t.intake.holds.hold(key)
		}
		t.parked = parkedKeys{}
		t.horizon.leaveAll()
	case tailOpening, tailJoining, tailStarting:
		// A slot that nobody reads makes PostgreSQL keep the log for as long as the
		// broker is down.
		t.leave(now, "the broker takes no messages", nil)
	case tailClosing, tailEnded:
	}
}
