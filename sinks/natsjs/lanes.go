package natsjs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// lanes has the lanes of one connection, and the streams that they are for. It has no
// I/O. The method that takes a message out reports it too, under the lock, so that the
// outcomes of a lane come in order.
type lanes struct {
	numbers *atomic.Uint64 // the sink's, so that no two lanes have the same number
	session *session
	off     bool // no message goes in a batch on this connection

	mu    sync.Mutex
	ended bool
	live  map[uint64]*lane // those that have not ended, by number
	spare []laneEntry      // empty: the memory of a lane that has ended, for the next one
	routes
}

func newLanes(numbers *atomic.Uint64, s *session) *lanes {
	return &lanes{numbers: numbers, session: s, live: make(map[uint64]*lane), routes: newRoutes()}
}

// join returns the lane that a message would go in now, or nil.
func (ls *lanes) join(m *relay.Message) *lane {
	if ls.off || m.Attempts > 0 || !fitsBatch(m.Topic, ls.session.inbox) {
		return nil
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.ended {
		return nil
	}
	r := ls.of(m.Topic)
	if r == nil || !ls.takes(r, m.Topic) {
		return nil
	}
	if r.current == nil || r.current.state != laneOpen {
		r.current = &lane{
			number: ls.numbers.Add(1), route: r, session: ls.session, flow: flow{every: flowEvery}, entries: ls.spare, array: ls.spare,
		}
		ls.spare = nil
	}
	r.current.named = true
	return r.current
}

// flush notes that no further message follows for the lane at the moment. It has the
// batch ended, unless another acknowledgement will come anyway.
func (ls *lanes) flush(l *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.named = false
	ls.finishUncovered(l)
}

// finishUncovered has the last message of a lane written as the end of its batch, if
// the stream would not acknowledge it otherwise.
func (ls *lanes) finishUncovered(l *lane) {
	if l.named || l.covered() {
		return
	}
	if l.route.current == l {
		l.route.current = nil // the next message joins another lane
	}
	ls.session.requeue(item{lane: l, command: commandFinish})
}

// add adds a message before it is written. It returns its sequence in the batch, or
// false if the lane takes no more messages.
func (ls *lanes) add(l *lane, it sized, now time.Time, last bool) (sequence uint64, ok bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.ended || l.state != laneOpen {
		return 0, false
	}
	number, err := ls.session.pending.reserve()
	if err != nil {
		return 0, false
	}
	ls.live[l.number] = l
	return l.add(laneEntry{sized: it, number: number, began: now}, last), true
}

// isolate adds the only message of a lane, which the caller publishes outside of any
// batch. It returns false if the lane takes no more messages.
func (ls *lanes) isolate(l *lane, it item) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.ended || l.state != laneOpen {
		return false
	}
	l.isolate(it)
	return true
}

// addUnwritten adds a message that is not written. The lane takes no more messages after
// it.
func (ls *lanes) addUnwritten(l *lane, it item, own *relay.Outcome) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.state == laneOpen {
		l.state = laneClosed
	}
	l.addUnwritten(it, own)
	ls.forgetEnded(l)
}

// take acts on a reply for a message of a batch. It returns the lane if the stream has
// to be asked about it, or nil.
func (ls *lanes) take(t batchTicket, r batchReply, now time.Time) (ask *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.live[t.batch]
	if l == nil || l.state >= laneAlone {
		return nil
	}
	before, open := l.base, l.state == laneOpen
	switch r.kind {
	case progress:
		l.flow.note(r.sequence, r.every)
		ls.acknowledge(l, r.sequence)
		ls.follow(l, l.proceed(), false)
		// A new leader of the stream says how far it has got. The messages that it does
		// not have are lost. If no further message follows, it never sees the gap.
		if r.sequence <= before && l.sent > before && t.op != opPing && t.sequence > 1 && now.Sub(l.pinged) >= ls.session.pingAfter() {
			ask = l
		}
	case concluded:
		ls.acknowledge(l, r.sequence)
		ls.follow(l, l.conclude(), false)
	case refusedIn:
		ask = ls.refusedIn(l, t, r.code)
	case unclaimedIn:
		if t.op != opPing && ls.refuse(l, t.sequence) {
			ask = l
		}
	case gapSeen: // the last acknowledgement follows
	default:
		l.stranger = true
		return nil
	}
	l.moved = now
	if open {
		ls.finishUncovered(l) // also if the lane has just ended: its last message may not be written
	}
	ls.forgetEnded(l)
	return ask
}

// refusedIn acts on an error. A stream that does not know the batch, or takes no
// batches, may still have stored messages of it.
func (ls *lanes) refusedIn(l *lane, t batchTicket, code jetstream.ErrorCode) (ask *lane) {
	switch {
	case code == codeBatchDisabled:
		l.route.batches = false
	case t.op == opPing, code == codeBatchUnknown:
	default:
		if ls.refuse(l, t.sequence) {
			return l
		}
		return nil
	}
	ls.follow(l, l.conclude(), true)
	return nil
}

// refuse notes that a message was not taken. It returns whether the stream has to be
// asked about the messages before it.
func (ls *lanes) refuse(l *lane, sequence uint64) (ask bool) {
	ask = l.refuse(sequence)
	ls.follow(l, l.proceed(), false)
	return ask && l.state == laneBroken
}

// acknowledge reports the messages that the stream has stored.
func (ls *lanes) acknowledge(l *lane, upTo uint64) {
	taken := l.acknowledge(upTo)
	if len(taken) == 0 {
		return
	}
	ls.session.pending.noteAnswered(taken, ls.session.options.AckTimeout)
	for i := range taken {
		taken[i].report(taken[i].message, relay.Outcome{Class: relay.Acknowledged})
	}
	clear(taken)
	l.route.broke = 0
}

// follow has the first message of the lane published outside of a batch, if alone says
// so. doubted says that the stream may have stored it.
func (ls *lanes) follow(l *lane, alone, doubted bool) {
	if !alone {
		return
	}
	it := l.entries[0].item
	it.alone, it.proposed = true, it.proposed || doubted
	ls.noteBroken(l.route, it.message.Topic, ls.session.pending.lastNumber())
	if !ls.session.requeue(it) {
		l.settle(it.lost(link.ErrClosed))
		ls.forgetEnded(l)
	}
}

// settled is called with the outcome of a message that was published outside of its
// lane's batch.
func (ls *lanes) settled(l *lane, o relay.Outcome) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.settle(o)
	ls.forgetEnded(l)
}

func (ls *lanes) forgetEnded(l *lane) {
	if l.state == laneEnded {
		delete(ls.live, l.number)
		if cap(l.array) > cap(ls.spare) {
			ls.spare = l.array
		}
		l.array = nil
	}
}

// denied notes that the user may not publish to the subject.
func (ls *lanes) denied(subject string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.live {
		for i, e := range l.entries {
			if e.number != 0 && e.message.Topic == subject {
				ls.refuse(l, l.base+uint64(i)+1)
				ls.finishUncovered(l)
				break
			}
		}
	}
}

// pinging returns the topic to which to send the question about the lane, and the last
// sequence that was written. If there is nothing to ask, the topic is empty.
func (ls *lanes) pinging(l *lane, now time.Time) (topic string, sent uint64) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !l.waits() || ls.ended {
		return "", 0
	}
	l.pinged = now
	return l.entries[0].message.Topic, l.sent
}

// watch refuses messages that the judge finds late. It returns the lanes about which
// the streams have to be asked, and whether the broker has to be asked.
func (ls *lanes) watch(judge *link.Judge, now time.Time) (silent []*lane, ask bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.refresh(now)
	patience := ls.session.pingAfter()
	for _, l := range ls.live {
		if !l.waits() {
			continue
		}
		if l.state == laneOpen && now.Sub(l.moved) >= patience {
			l.named = false // the caller of join has not flushed
			ls.finishUncovered(l)
		}
		began := l.entries[0].began
		switch {
		case judge.Of(began, now) == link.Late:
			ls.refuseLate(l)
		case judge.Next(began, now) == link.StepAsk:
			ask = true
		case now.Sub(l.moved) >= patience && now.Sub(l.pinged) >= patience:
			silent = append(silent, l)
		}
	}
	return silent, ask
}

// refuseLate refuses the first message of a lane.
func (ls *lanes) refuseLate(l *lane) {
	topic, why := l.entries[0].message.Topic, timedOut
	if l.stranger {
		why = notAStream
	}
	ls.session.pending.noteLate(topic)
	ls.noteDoubt(l.route, topic, ls.session.pending.lastNumber())
	l.settle(why(topic))
	ls.finishUncovered(l)
	ls.forgetEnded(l)
}

// acknowledgedAlone notes that a message that was published alone was acknowledged.
func (ls *lanes) acknowledgedAlone(it item, stored bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.noteAcknowledged(it.message.Topic, it.first, stored)
}

// noteLate notes that a message of the topic that was published alone may be in process.
func (ls *lanes) noteLate(topic string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.noteDoubt(ls.topics[topic], topic, ls.session.pending.lastNumber())
}

// close refuses further messages. It returns the size of the largest one in flight.
func (ls *lanes) close() (largest int64) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.ended = true
	for _, l := range ls.live {
		for i := range l.entries {
			if l.state < laneAlone {
				largest = max(largest, l.entries[i].size)
			}
		}
	}
	return largest
}

// lose takes out the messages that were written and are not acknowledged, and reports
// each with the outcome that the function returns.
func (ls *lanes) lose(outcome func(*laneEntry) relay.Outcome) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for number, l := range ls.live {
		if l.state == laneAlone {
			continue // its first message is pending outside of a batch, and settled there
		}
		written := l.entries[:l.sent-l.base]
		for i := range written {
			written[i].report(written[i].message, outcome(&written[i]))
		}
		clear(written)
		l.entries = l.entries[len(written):]
		l.end(false)
		ls.session.requeue(item{lane: l, command: commandFinish})
		delete(ls.live, number)
	}
}
