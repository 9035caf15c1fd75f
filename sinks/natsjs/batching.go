package natsjs

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// goneLane is the lane of messages whose own lane is not known any more.
var goneLane = &lane{state: laneEnded}

// publishLaned writes a message in its lane's batch, or carries out the item's command
// for the lane. It is for the goroutine that writes.
func (s *Sink) publishLaned(e *encoder, sess *session, it item, limits limits, now time.Time) {
	l := it.lane
	if l == goneLane {
		it.report(it.message, withdrawn)
		return
	}
	if sess != l.session { // the lane's connection has ended, or is about to
		s.strand(l, it)
		return
	}
	switch it.command {
	case commandFinish:
		delete(s.unfinished, l)
		sess.finish(e, l, now)
		return
	case commandPing:
		sess.ping(l, now)
		return
	}
	size, err := validate(it.message, limits)
	if err != nil {
		delete(s.unfinished, l)
		sess.finish(e, l, now)
		rejected := relay.RejectedOutcome(err)
		sess.lanes.addUnwritten(l, it, &rejected)
		return
	}
	if before, some := l.newest.follow(sized{it, size}); some {
		sess.publishIn(e, l, before, now, false)
		return
	}
	s.unfinished[l] = struct{}{}
}

// strand gives the messages of a lane back, because the lane's connection has ended.
func (s *Sink) strand(l *lane, it item) {
	delete(s.unfinished, l)
	if it, some := l.newest.take(); some {
		l.session.lanes.addUnwritten(l, it.item, nil)
	}
	if it.command == commandNone {
		l.session.lanes.addUnwritten(l, it, nil)
	}
}

// strandAll is strand for all lanes, when the sink is closed.
func (s *Sink) strandAll() {
	for l := range s.unfinished {
		s.strand(l, item{command: commandFinish})
	}
}

// finish writes the last message of a lane, so that the stream acknowledges the batch.
// If it is the only message, it is published without a batch: that is as quick, and the
// acknowledgement says whether it is a duplicate.
func (s *session) finish(e *encoder, l *lane, now time.Time) {
	it, some := l.newest.take()
	if !some {
		return
	}
	if l.sent > 0 { // only this goroutine changes it
		s.publishIn(e, l, it, now, true)
		return
	}
	it.alone = true
	if !s.lanes.isolate(l, it.item) {
		s.lanes.addUnwritten(l, it.item, nil)
		return
	}
	s.publish(e, it.item, it.size, now)
}

// publishIn writes a message in the lane's batch.
func (s *session) publishIn(e *encoder, l *lane, it sized, now time.Time, last bool) {
	e.encode(it.message) // before it is in flight
	sequence, ok := s.lanes.add(l, it, now, last)
	if !ok {
		s.lanes.addUnwritten(l, it.item, nil)
		return
	}
	t := batchTicket{batch: l.number, sequence: sequence, op: opAppend}
	switch {
	case last:
		t.op = opCommit
	case sequence == 1:
		t.op = opStart
	}
	err := s.conn.PublishMsg(e.inBatch(s.inbox, s.batches, t))
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg):
		s.takeBatch(t, batchReply{kind: refusedIn}) // its outcome says why when it is published alone
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining): // session.end reports it
	default:
		s.writeFailed(err)
	}
}

// ping asks the stream what it has of a batch. If the stream misses a message, it then
// ends the batch. The question goes to a topic of the batch, because it has to reach
// the stream.
func (s *session) ping(l *lane, now time.Time) {
	topic, sent := s.lanes.pinging(l, now)
	if topic == "" {
		return
	}
	reply := appendBatchReply([]byte(s.inbox), s.batches, batchTicket{batch: l.number, sequence: sent, op: opPing})
	// An error is the connection's, and ends it.
	_ = s.conn.PublishMsg(&nats.Msg{Subject: topic, Reply: string(reply)})
}

// takeBatchReply handles a reply for a message of a batch. It runs on the library's
// goroutine for the subscription.
func (s *session) takeBatchReply(m *nats.Msg) {
	if t, ok := parseBatchReply(s.batches, strings.TrimPrefix(m.Subject, s.inbox)); ok {
		s.takeBatch(t, parseBatchAnswer(m))
	}
}

func (s *session) takeBatch(t batchTicket, r batchReply) {
	if l := s.lanes.take(t, r, time.Now()); l != nil {
		s.requeue(item{lane: l, command: commandPing})
	}
}

// knowsBatches returns whether the server is known to take batches, as it does since
// version 2.14. An older server may refuse to make a stream that allows them.
func (s *session) knowsBatches() bool {
	var major, minor int
	n, err := fmt.Sscanf(s.conn.ConnectedServerVersion(), "%d.%d", &major, &minor)
	return err == nil && n == 2 && (major > 2 || major == 2 && minor >= 14)
}

// pingAfter is how long nothing may come back for a batch before the stream is asked
// about it: long enough that a busy stream is not asked.
func (s *session) pingAfter() time.Duration { return s.options.AckTimeout / 8 }

// watchLanes refuses late messages in batches, and asks the streams about batches for
// which nothing comes back. It returns whether the broker has to be asked too.
func (s *session) watchLanes(judge *link.Judge, now time.Time) (ask bool) {
	silent, ask := s.lanes.watch(judge, now)
	for _, l := range silent {
		s.requeue(item{lane: l, command: commandPing})
	}
	return ask
}
