package natsjs

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// stream is a model of a stream that takes batches with gap: fail. It is so simple that
// it is obviously right.
type stream struct {
	random  *rand.Rand
	batches map[uint64]*streamBatch
	stored  map[*relay.Message]bool
	answers []answered
}

type streamBatch struct{ last, flow uint64 }

type answered struct {
	batchTicket
	batchReply
}

type written struct {
	batchTicket
	message *relay.Message
}

func (s *stream) answer(t batchTicket, kind batchReplyKind, sequence uint64, code jetstream.ErrorCode) {
	s.answers = append(s.answers, answered{t, batchReply{kind: kind, sequence: sequence, every: 3, code: code}})
}

func (s *stream) take(w written) {
	b := s.batches[w.batch]
	switch {
	case b == nil && w.op != opStart && (w.op != opCommit || w.sequence != 1):
		s.answer(w.batchTicket, refusedIn, 0, codeBatchUnknown)
		return
	case b == nil:
		b = &streamBatch{}
		s.batches[w.batch] = b
		s.answer(w.batchTicket, progress, 0, 0)
	}
	end := func() {
		delete(s.batches, w.batch)
		s.answer(w.batchTicket, concluded, b.last, 0)
	}
	switch {
	case w.op == opPing && w.sequence <= b.last:
		s.answer(w.batchTicket, progress, b.flow, 0)
	case w.op == opPing, w.sequence != b.last+1:
		s.answer(w.batchTicket, gapSeen, 0, 0)
		end()
	case s.random.IntN(30) == 0: // an error that does not end the batch: the next message does
		s.answer(w.batchTicket, refusedIn, 0, codeStoreFailed)
	case s.random.IntN(30) == 0:
		s.answer(w.batchTicket, refusedIn, 0, codeStoreFailed)
		if end(); b.last == 0 { // the error was the answer
			s.answers = s.answers[:len(s.answers)-1]
		}
	default:
		s.stored[w.message] = true
		b.last++
		if b.last >= b.flow+3 {
			b.flow = b.last
			s.answer(w.batchTicket, progress, b.flow, 0)
		}
		if w.op == opCommit {
			end()
		}
	}
}

// schedule is one random run of lanes beside a stream.
type schedule struct {
	*testing.T
	*stream
	lanes   *lanes
	queue   []item    // to be written
	network []written // to the stream
	alone   []item    // published outside of batches

	handed  map[*lane][]*relay.Message
	reports map[*lane][]relay.Class
	waiting int
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	s := &schedule{
		T: t, handed: make(map[*lane][]*relay.Message), reports: make(map[*lane][]relay.Class),
		stream: &stream{random: rand.New(rand.NewPCG(seed, 0)), batches: make(map[uint64]*streamBatch), stored: make(map[*relay.Message]bool)},
	}
	sess := &session{pending: newPending(64), options: Options{SinkOptions: link.SinkOptions{AckTimeout: time.Hour}}}
	sess.requeue = func(it item) bool { s.queue = append(s.queue, it); return true }
	sess.lanes = newLanes(new(atomic.Uint64), sess)
	s.lanes = sess.lanes
	s.lanes.streams["S"] = &route{stream: "S", subjects: []string{"s"}, batches: true}
	return s
}

// handOver hands some messages over, and mostly calls flush after them.
func (s *schedule) handOver() {
	r := s.lanes.streams["S"]
	r.fenced, r.paused, r.broke = true, time.Time{}, 0
	clear(s.lanes.alone)
	var l *lane
	for range 1 + s.random.IntN(8) {
		m := &relay.Message{Topic: "s"}
		if l = s.lanes.join(m); l == nil {
			s.Fatal("no lane")
		}
		l.handed.Add(1)
		s.handed[l] = append(s.handed[l], m)
		s.waiting++
		s.queue = append(s.queue, item{message: m, lane: l, report: s.reporter(l, len(s.handed[l])-1)})
	}
	if s.random.IntN(4) > 0 {
		s.flush()
	}
}

func (s *schedule) flush() {
	for l := range s.handed {
		if l.named {
			s.lanes.flush(l)
		}
	}
}

// reporter checks the outcome of a message against those before it and the stream.
func (s *schedule) reporter(l *lane, place int) relay.Report {
	return func(m *relay.Message, o relay.Outcome) {
		s.waiting--
		if got := len(s.reports[l]); got != place {
			s.Fatalf("message %d of its lane is reported as the %dth", place, got)
		}
		if o.Class == relay.Acknowledged {
			if !s.stored[m] {
				s.Fatalf("message %d is acknowledged and not stored", place)
			}
			if place > 0 && s.reports[l][place-1] != relay.Acknowledged {
				s.Fatalf("message %d is acknowledged after one that is not", place)
			}
		}
		s.reports[l] = append(s.reports[l], o.Class)
	}
}

// write does what the goroutine that writes does with one item.
func (s *schedule) write() {
	it := s.queue[0]
	s.queue = s.queue[1:]
	l := it.lane
	switch {
	case it.alone:
		s.alone = append(s.alone, it)
	case it.command == commandPing:
		if topic, sent := s.lanes.pinging(l, time.Now()); topic != "" {
			s.network = append(s.network, written{batchTicket{l.number, sent, opPing}, nil})
		}
	case it.command == commandFinish:
		it, some := l.newest.take()
		switch {
		case !some:
		case l.sent > 0:
			s.publish(l, it, true)
		default:
			it.alone = true
			if s.lanes.isolate(l, it.item) {
				s.alone = append(s.alone, it.item)
			} else {
				s.lanes.addUnwritten(l, it.item, nil)
			}
		}
	default:
		if before, some := l.newest.follow(sized{item: it}); some {
			s.publish(l, before, false)
		}
	}
}

func (s *schedule) publish(l *lane, it sized, last bool) {
	sequence, ok := s.lanes.add(l, it, time.Now(), last)
	if !ok {
		s.lanes.addUnwritten(l, it.item, nil)
		return
	}
	op := opAppend
	switch {
	case last:
		op = opCommit
	case sequence == 1:
		op = opStart
	}
	s.network = append(s.network, written{batchTicket{l.number, sequence, op}, it.message})
}

// settleAlone gives a message that was published alone its outcome.
func (s *schedule) settleAlone() {
	it := s.alone[0]
	s.alone = s.alone[1:]
	if s.random.IntN(3) == 0 {
		it.done(relay.RefusedOutcome(relay.ErrorTypeFull, "full"))
		return
	}
	s.stored[it.message] = true
	it.done(relay.Outcome{Class: relay.Acknowledged})
}

// step does one random thing.
func (s *schedule) step(fault bool) {
	switch n := s.random.IntN(12); {
	case n < 2 && fault:
		s.handOver()
	case n < 6 && len(s.queue) > 0:
		s.write()
	case n < 8 && len(s.network) > 0:
		w := s.network[0]
		s.network = s.network[1:]
		s.take(w)
	case n < 10 && len(s.answers) > 0:
		a := s.answers[0]
		s.answers = s.answers[1:]
		if l := s.lanes.take(a.batchTicket, a.batchReply, time.Now()); l != nil {
			s.queue = append(s.queue, item{lane: l, command: commandPing})
		}
	case n < 11 && len(s.alone) > 0:
		s.settleAlone()
	case n == 11 && fault && s.random.IntN(5) == 0:
		s.newLeader()
	}
}

// newLeader loses the messages that are on their way, and perhaps what the stream knows
// about batches.
func (s *schedule) newLeader() {
	s.network = slices.DeleteFunc(s.network, func(written) bool { return s.random.IntN(2) == 0 })
	s.answers = s.answers[:s.random.IntN(len(s.answers)+1)]
	if s.random.IntN(2) == 0 {
		clear(s.batches)
	}
}

// askAll asks about every batch that waits.
func (s *schedule) askAll() {
	for l := range s.handed {
		if l.waits() {
			s.queue = append(s.queue, item{lane: l, command: commandPing})
		}
	}
}

func TestLanesAgainstAStreamUnderRandomSchedules(t *testing.T) {
	for seed := range uint64(3_000) {
		s := newSchedule(t, seed)
		for range 150 {
			s.step(true)
		}
		if seed%4 == 0 { // the connection is lost
			s.network = nil
			s.lanes.close()
			s.lanes.lose(func(*laneEntry) relay.Outcome { return relay.UnknownOutcome(relay.ErrorTypeDisconnected, errClosing) })
		}
		s.flush()
		for round := 0; s.waiting > 0; round++ {
			if round == 100 {
				t.Fatalf("seed %d: %d messages are never reported", seed, s.waiting)
			}
			for range 500 {
				s.step(false)
			}
			if seed%4 != 0 {
				s.askAll()
			}
		}
	}
}
