package engine

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// The commands of a scenario: what happens to the relay.

// run runs one command, and has the loop act on it.
func (s *scenario) run(d *datadriven.TestData) {
	c := command{s, d.CmdArgs}
	switch d.Cmd {
	case "term":
		s.begin(c)
	case "status":
		s.status()
		return
	case "at":
		at, err := time.ParseDuration(c.args[0].Key)
		if err != nil {
			s.Fatal(err)
		}
		s.sleepUntil(at)
		return
	case "stop":
		s.term.stop()
	case "heartbeat":
		s.server.others = c.number("standbys", 0)
		s.server.paused = c.has("paused")
		if err := s.term.marker.beat(s.Context()); err != nil {
			s.Fatal(err)
		}
		s.term.marker.tell()
	default:
		if !s.ofBroker(d.Cmd, c) && !s.ofTable(d.Cmd, c, d.Input) && !s.ofLog(d.Cmd, c) {
			d.Fatalf(s.T, "there is no command %q", d.Cmd)
		}
	}
	s.turn()
}

// ofBroker runs what the broker does.
func (s *scenario) ofBroker(name string, c command) bool {
	outcome := relay.Outcome{Type: relay.ErrorTypeNacked, Err: errors.New("made up")}
	switch name {
	case "ack":
		outcome = relay.Outcome{Class: relay.Acknowledged}
	case "refuse":
		outcome.Class = relay.Refused
	case "postpone":
		outcome.Class, outcome.Type = relay.Postponed, relay.ErrorTypeTimeout
	case "reject":
		outcome.Class = relay.Rejected
	case "down": // took nothing
		outcome.Class = relay.Unavailable
	case "lost": // the connection, with these not reported
		outcome.Class = relay.Unknown
	case "withdraw": // the sink gives them back
		outcome = relay.Outcome{Class: relay.Withdrawn}
	case "lane": // has ended, and there is another one
		s.lanes.now.Number++
		return true
	case "probe":
		if c.has("fails") {
			s.term.probed(errors.New("connection refused"))
		} else {
			s.term.probed(nil)
		}
		return true
	default:
		return false
	}
	for _, r := range c.rows() {
		s.sink.report(r, outcome)
	}
	s.term.takeReports()
	for _, r := range c.rows() {
		if m := s.term.taken.rows[r]; m != nil {
			m.retry = c.duration("retry", 0) // instead of a pause drawn by lot
		}
	}
	return true
}

// ofTable runs what the table answers.
func (s *scenario) ofTable(name string, c command, input string) bool {
	switch name {
	case "pass":
		s.answer(readResult{kind: beginPass, pass: relay.Pass{Bound: 1000}})
	case "frame":
		s.answer(readResult{kind: noteFrame, pass: relay.Pass{Bound: 1000}})
	case "chunk":
		rows := s.table(input)
		chunk := relay.Chunk{Rows: rows, Done: !c.has("more")}
		if len(rows) > 0 {
			chunk.Cursor = rows[len(rows)-1].ID
		}
		s.answer(readResult{kind: s.outOf(readChunk, refillKey, readExpired, refillTail), chunk: chunk, took: c.duration("took", 0)})
	case "survey":
		cut := make(map[string]int64)
		for one := range c.list("cut") {
			key, after, _ := strings.Cut(one, ":")
			cut[key] = s.ref(after).ID
		}
		blocked := make(map[string]int64)
		for one := range c.list("blocked") {
			key, after, _ := strings.Cut(one, ":")
			blocked[key] = s.ref(after).ID
		}
		var rows []relay.Row
		var left []relay.LeftRow
		for _, row := range s.table(input) {
			if row.Left {
				left = append(left, relay.LeftRow{ID: row.ID, Key: row.KeyName()})
			} else {
				rows = append(rows, row)
			}
		}
		s.answer(readResult{kind: readSurvey, survey: relay.Survey{
			Complete: !c.has("incomplete"), Rows: rows, Left: left, Cut: cut, Blocked: blocked, Snapshot: c.snapshot(),
			Position: wal.LSN(c.number("position", 1<<32)), NextScheduled: c.duration("next", 0), Synchronous: c.has("synchronous"),
		}})
	case "fails": // the statement that is out
		s.answer(readResult{kind: s.outOf(noteFrame, beginPass, readChunk, refillKey, readExpired, refillTail, readSurvey, readSnapshot, inspectTail), err: errors.New(strings.Join(c.args[0].Vals, " "))})
	case "commit", "write":
		s.write(c)
	default:
		return false
	}
	return true
}

// outOf is the statement that is out, one of these.
func (s *scenario) outOf(kinds ...statement) statement {
	if s.asked == nil || !slices.Contains(kinds, s.asked.kind) {
		s.Fatalf("one of %v is answered, and what is out is %+v", kinds, s.asked)
	}
	return s.asked.kind
}

// answer answers the statement that is out.
func (s *scenario) answer(res readResult) {
	s.outOf(res.kind)
	s.asked = nil
	if err := s.term.answered(res); err != nil {
		s.did("the term ends: %v", err)
	}
}

// write has the marker write the outcomes of the rows named, or all that there are.
func (s *scenario) write(c command) {
	k := s.term.marker
	s.server.written = make(map[string][]string)
	s.server.refused, s.server.locked, s.server.dead = c.list("refused"), c.list("locked"), c.list("dead")
	k.take()
	var others []outcome
	if rows := c.rows(); len(rows) > 0 {
		others, k.unwritten = split(k.unwritten, rows)
	}
	err := k.probeNewest(s.Context())
	for worked := true; worked && err == nil; {
		worked, err = k.work(s.Context(), time.Now())
	}
	if err != nil {
		s.Fatal(err)
	}
	k.unwritten = append(k.unwritten, others...)
	k.tell()
	for what, rows := range s.server.written {
		slices.Sort(rows)
		s.did("%s %s", what, strings.Join(rows, " "))
	}
	slices.Sort(s.deeds) // the marker tries rows of a refused batch in any order
}

// split takes the outcomes of the rows out of the list.
func split(list []outcome, rows []relay.Ref) (others, named []outcome) {
	for _, o := range list {
		if slices.Contains(rows, o.ref()) {
			named = append(named, o)
		} else {
			others = append(others, o)
		}
	}
	return others, named
}

// ofLog runs what the log does.
func (s *scenario) ofLog(name string, c command) bool {
	if s.term.tailing.tail == nil {
		s.Fatalf("%s: there is no tail", name)
	}
	switch name {
	case "slot": // it is there, and all before it visible
		s.term.stepped(streamStep{kind: streamOpened, tail: slot{}})
	case "stream": // has started
		s.term.stepped(streamStep{kind: streamStarted})
	case "ended": // the stream has
		s.term.stepped(streamStep{kind: streamEnded})
	case "log":
		row := s.row(c)
		ev := relay.TailEvent{
			Position: wal.LSN(c.number("position", c.number("xid", 0))), XID: wal.XID(c.number("xid", 0)), Message: row.Message,
			Pending: !c.has("sent"), Due: row.Wait == 0 && !c.has("never"), Wait: row.Wait,
		}
		if row.ID == 0 {
			ev.Message = nil
		}
		stream := s.term.tailing.tail.stream
		stream.room.TryAcquire(stream.size(ev))
		stream.events <- ev
	case "visible":
		s.answer(readResult{kind: readSnapshot, snapshot: c.snapshot()})
	case "inspection":
		res := readResult{kind: inspectTail, lag: relay.TailLag{
			Retained: int64(c.number("retained", 0)), Read: wal.LSN(c.number("read", 0)), End: wal.LSN(c.number("end", 0)),
		}}
		if c.has("refused") {
			res.refusal = errors.New("the publication has lost the table")
		}
		s.answer(res)
	default:
		return false
	}
	return true
}

// table reads rows, one a line.
func (s *scenario) table(text string) []relay.Row {
	var rows []relay.Row
	for line := range strings.Lines(text) {
		_, args, err := datadriven.ParseLine("row " + line)
		if err != nil {
			s.Fatal(err)
		}
		rows = append(rows, s.row(command{s, args}))
	}
	return rows
}

// row makes a row of the arguments.
func (s *scenario) row(c command) relay.Row {
	m := &relay.Message{Key: c.text("key", ""), Keyed: c.has("key"), Topic: c.text("topic", ""), Size: int64(c.number("size", 1)), Attempts: c.number("attempts", 0)}
	if id := c.text("id", ""); id != "" {
		m.Ref = s.ref(id)
	}
	return relay.Row{Message: m, Wait: c.duration("wait", 0), Scheduled: c.has("scheduled"), Newer: c.has("newer"), Left: c.has("left")}
}

// ref reads the name of a row: its id, and its message id where another row had the
// id before, as in 7.2.
func (s *scenario) ref(text string) relay.Ref {
	idText, message, _ := strings.Cut(text, ".")
	id, err := strconv.ParseInt(idText, 10, 64)
	if err != nil {
		s.Fatal(err)
	}
	r := relay.Ref{ID: id}
	if message != "" {
		r.MessageID[0] = message[0] - '0'
	}
	return r
}

func refText(r relay.Ref) string {
	if r.MessageID[0] == 0 {
		return strconv.FormatInt(r.ID, 10)
	}
	return strconv.FormatInt(r.ID, 10) + "." + strconv.Itoa(int(r.MessageID[0]))
}

// command are the arguments of one.
type command struct {
	s    *scenario
	args []datadriven.CmdArg
}

func (c command) find(key string) []string {
	for _, a := range c.args {
		if a.Key == key {
			return append([]string{}, a.Vals...)
		}
	}
	return nil
}

func (c command) has(key string) bool { return c.find(key) != nil }

func (c command) text(key, otherwise string) string {
	if vals := c.find(key); len(vals) == 1 {
		return vals[0]
	}
	return otherwise
}

func (c command) number(key string, otherwise int) int {
	n, err := strconv.Atoi(c.text(key, strconv.Itoa(otherwise)))
	if err != nil {
		c.s.Fatal(err)
	}
	return n
}

func (c command) duration(key string, otherwise time.Duration) time.Duration {
	d, err := time.ParseDuration(c.text(key, otherwise.String()))
	if err != nil {
		c.s.Fatal(err)
	}
	return d
}

func (c command) snapshot() wal.Snapshot { return parseSnapshot(c.s.T, c.text("sees", "")) }

// rows are the arguments without a value.
func (c command) rows() []relay.Ref {
	var rows []relay.Ref
	for _, a := range c.args {
		if a.Vals == nil {
			rows = append(rows, c.s.ref(a.Key))
		}
	}
	return rows
}

// list are the rows of one argument, by name.
func (c command) list(key string) map[string]bool {
	set := make(map[string]bool)
	for _, row := range c.find(key) {
		set[row] = true
	}
	return set
}
