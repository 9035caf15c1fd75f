package engine

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/outbox-relay/outbox-relay/relay"
)

// TestScenarios runs the files of testdata. Each tells the schedule of one rule: what
// happens, and what the relay does then. A real term is stepped, without a database, a
// broker or a goroutine, and on the clock of a synctest bubble, which stands still
// but for the command "at". CONTRIBUTING.md says how to write one.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			s := &scenario{}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				s.T = t
				s.run(d)
				s.validate()
				return s.told()
			})
		})
	})
}

// scenario steps a term: after each event it does what the loop does.
type scenario struct {
	*testing.T
	began    time.Time
	relay    *Relay
	term     *term
	wake     *time.Timer
	sink     *sinkRecorder
	lanes    *lanedRecorder // nil where the sink names no lanes
	server   *answers
	deeds    []string     // of the relay, since the last command
	asked    *readRequest // the statement that is out
	inspects bool         // the file answers inspections of the tail; else each finds nothing
	left     bool         // the term is over
	reported string       // of the tail, last
}

// did notes what the relay did.
func (s *scenario) did(format string, args ...any) {
	s.deeds = append(s.deeds, fmt.Sprintf(format, args...))
}

// told is what the relay has done since the last command.
func (s *scenario) told() string {
	defer func() { s.deeds = nil }()
	if len(s.deeds) == 0 {
		return "nothing"
	}
	return strings.Join(s.deeds, "\n")
}

// step runs one command of the scenarios' language.
func (s *scenario) step(line, input string) {
	s.Helper()
	name, args, err := datadriven.ParseLine(line)
	if err != nil {
		s.Fatal(err)
	}
	s.run(&datadriven.TestData{Cmd: name, CmdArgs: args, Input: input})
	s.validate()
}

// begin begins a term of leadership, whose broker answers: one that polls, or may look
// for a tail, or reads the log already.
func (s *scenario) begin(c command) {
	if s.began.IsZero() {
		s.began = time.Now()
	}
	s.inspects = c.has("inspections")
	s.sink = &sinkRecorder{scenario: s, reports: map[relay.Ref]func(relay.Outcome){}}
	s.server = &answers{scenario: s}
	window := c.number("window", 16)
	config := Config{
		Sink: s.sink, Logger: slog.New(warnings{slog.DiscardHandler, s}),
		PollInterval: c.duration("poll", time.Second), Limits: Limits{MaxInFlight: window, BufferBytes: int64(c.number("buffer", 1<<20))},
		Retry:      Backoff{Min: time.Second, Max: time.Hour},
		openWindow: !c.has("closed"),
		Tail:       TailConfig{Wanted: c.has("tail") || c.has("tailing"), ReconcileInterval: c.duration("reconcile", time.Minute), MaxWAL: 1 << 30},
	}
	if c.has("lanes") {
		s.lanes = &lanedRecorder{s.sink, relay.Lane{Number: 1, Strict: !c.has("loose")}}
		config.Sink, config.KeyWindow = s.lanes, c.number("keywindow", 1)
	}
	config.MaxDefer, config.DeadBlocks = c.duration("defer", 0), c.has("blocks")
	config.Tail.Gate = VisibilityGate(max(0, slices.Index(gateNames[:], c.text("gate", "auto"))))
	if c.has("unordered") {
		config.Ordering = OrderNone
	}
	if s.relay == nil { // else this is its next term
		s.relay = New(config)
	}
	s.relay.config = config.withDefaults()
	s.term, s.asked = newTerm(s.relay, s.server), nil
	s.term.dispatcher.chain = c.number("chain", s.term.dispatcher.chain)
	s.term.tailing.openStream = func() *stream { return newStream(func() { s.did("closes the stream") }, 1<<20) }
	s.wake = time.NewTimer(time.Hour)
	s.term.openBreaker("", nil)
	s.term.advance(s.wake)
	s.collect() // the request for a probe
	s.term.probed(nil)
	if c.has("tailing") {
		s.join(c)
	}
	s.deeds = nil
}

// join takes the term to where the log is read. The survey has seen all transactions
// before 100.
func (s *scenario) join(c command) {
	survey := relay.Survey{Complete: true, Snapshot: parseSnapshot(s.T, "100:100:"), Synchronous: c.has("synchronous"), NextScheduled: c.duration("next", 0)}
	for _, happens := range []func(){
		func() { s.answer(readResult{kind: beginPass, pass: relay.Pass{Bound: 1000}}) },
		func() { s.answer(readResult{kind: readChunk, chunk: relay.Chunk{Done: true}}) },
		s.turn, // which opens a tail, since the pass keeps up
		func() { s.term.stepped(streamStep{kind: streamOpened, tail: slot{}}) },
		func() { s.answer(readResult{kind: readSurvey, survey: survey}) },
		func() { s.term.stepped(streamStep{kind: streamStarted}) },
	} {
		s.turn()
		happens()
	}
	s.turn()
}

// turn does what the loop does until nothing is left to do.
func (s *scenario) turn() {
	for range 1000 {
		s.term.advance(s.wake)
		s.collect()
		if s.asked != nil && s.asked.kind == inspectTail && !s.inspects {
			s.answer(readResult{kind: inspectTail})
			continue
		}
		if err := s.term.stepsDown(time.Now()); err != nil && !s.left {
			s.left = true
			s.did("steps down: %v", err)
		}
		if s.term.finished() && !s.left {
			s.left = true
			s.did("resigns")
		}
		select {
		case <-s.term.reports.ready:
			s.term.takeReports()
		case <-s.term.marker.changed:
		case <-s.term.marker.settled.ready:
			for _, settled := range s.term.marker.settled.take() {
				s.term.settle(settled)
			}
		case ev := <-s.term.tailing.events(s.term.idle()):
			s.term.follow(ev)
		default:
			return
		}
	}
	s.Fatal("the loop turns for ever")
}

// sleepUntil lets the clock go on, and the loop turn as its timer tells it.
func (s *scenario) sleepUntil(at time.Duration) {
	end := time.NewTimer(time.Until(s.began.Add(at)))
	for range 10_000 {
		s.turn()
		select {
		case <-s.wake.C:
		case <-end.C:
			s.turn()
			return
		}
	}
	s.Fatal("the loop wakes itself for ever")
}

// collect notes what the loop asks of others.
func (s *scenario) collect() {
	select {
	case req := <-s.term.reader.session.requests:
		s.asked = &req
		if req.kind != inspectTail || s.inspects {
			s.did("%s", describe(req))
		}
	default:
	}
	select {
	case <-s.term.prober.requests:
		s.did("asks the broker whether it is back")
	default:
	}
	if of := s.ofTail(); of != s.reported {
		s.reported = of
		s.did("%s", of)
	}
}

// ofTail says how the tail is, or why there is none.
func (s *scenario) ofTail() string {
	tailing := s.term.tailing
	switch {
	case tailing.tail != nil && tailing.tail.phase >= tailClosing:
		return "the tail is " + tailing.tail.phase.String() + ": " + tailing.left
	case tailing.tail != nil:
		return "the tail is " + tailing.tail.phase.String()
	case s.reported != "":
		return "there is no tail"
	}
	return ""
}

// describe tells a request in words.
func describe(req readRequest) string {
	var text string
	switch req.kind {
	case beginPass:
		return "begins a pass"
	case noteFrame:
		return "notes what the table has"
	case readExpired:
		text = "looks for rows that have waited for too long" + describeAfter(req.chunk.After)
	case readChunk:
		text = "reads a chunk" + describeAfter(req.chunk.After)
	case refillKey, refillTail:
		return "reads more of key " + *req.chunk.OnlyKey + describeAfter(req.chunk.After)
	case readSurvey:
		text = "surveys the table"
	case readSnapshot:
		return "looks what is visible"
	case inspectTail:
		return "inspects the tail"
	case noStatement:
	}
	if keys := slices.Sorted(slices.Values(req.chunk.ExcludeKeys)); len(keys) > 0 {
		text += ", without key " + strings.Join(keys, ", ")
	}
	for _, topic := range slices.Sorted(maps.Keys(req.chunk.TopicRows)) {
		text += fmt.Sprintf(", %d of topic %s", req.chunk.TopicRows[topic], topic)
	}
	return text
}

func describeAfter(id int64) string {
	if id <= 0 { // the beginning
		return ""
	}
	return fmt.Sprintf(" after row %d", id)
}

// validate checks what has to hold between two events.
func (s *scenario) validate() {
	t := s.term
	valid := t.dispatcher.valid() && t.holds.valid() && t.taken.valid() && t.topics.valid() && t.deferral.valid()
	if tail := t.tailing.tail; tail != nil {
		valid = valid && tail.horizon.valid() && tail.surveys.valid()
	}
	if !valid {
		s.Fatalf("what is written at the fields does not hold: %+v", t.memory)
	}
}

// status tells what the relay has in memory.
func (s *scenario) status() {
	t := s.term
	if t.reader.err == nil {
		s.did("%s", t.status.Mode)
	} else {
		s.did("%s: %s", t.status.Mode, t.status.Reason)
	}
	var flying, lingering []string
	for r, m := range t.taken.rows {
		if m == nil {
			lingering = append(lingering, refText(r))
		} else {
			flying = append(flying, refText(r))
		}
	}
	s.list("taken", flying)
	s.list("lingering", lingering)
	s.list("held", t.holds.excluded())
	if t.intake.pass != nil {
		s.list("parked", t.intake.pass.parked.appendTo(nil))
	}
	if t.tailing.tail != nil {
		s.list("parked", t.tailing.tail.parked.appendTo(nil))
	}
	s.did("window: %d published, %d waiting", t.dispatcher.uncommitted, t.dispatcher.queued.rows)
	for place, name := range map[place]string{behindALock: "locked", setAside: "set aside"} {
		if n := t.outside.rows[place]; n > 0 {
			s.did("outside the window: %d %s", n, name)
		}
	}
	for _, topic := range t.topics.told() {
		s.did("topic %s is late: %d are tried", topic.Topic, topic.Tried)
	}
	if len(t.status.LockedBy) > 0 {
		s.did("locked by %v", t.status.LockedBy)
	}
	if t.breaker.open {
		s.did("the broker takes nothing")
	}
	if w := t.marker.told.Load(); w.table.isOpen() {
		s.did("the table takes nothing")
	}
	if t.status.Stalled != "" {
		s.did("stalled from %v on: %s (the relay's side: %t)", t.status.StalledSince.Sub(s.began), t.status.Stalled, t.status.StalledHere)
	}
	if t.count.Reconciled > 0 {
		s.did("the log has missed %d", t.count.Reconciled)
	}
}

func (s *scenario) list(what string, of []string) {
	if len(of) > 0 {
		slices.Sort(of)
		s.did("%s: %s", what, strings.Join(of, " "))
	}
}
