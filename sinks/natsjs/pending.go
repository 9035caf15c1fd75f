package natsjs

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// pending holds the messages in flight on one connection. The caller that takes an
// entry out reports it, so that each is reported once. It has no I/O and no clock.
//
// A slot is used again, but a ticket is not. Two streams of different domains may both
// answer one publish. If the second answer counted for the slot's next message, that
// message could be lost.
type pending struct {
	mu    sync.Mutex
	slots []entry
	free  []uint32 // indexes of slots without a message
	// again has the slots of messages that are published again, by the number of their
	// previous publish, because an acknowledgement of that one counts too.
	again map[uint64]uint32
	last  uint64 // the number of the last publish
	// acked is the highest number that was acknowledged. It proves that the broker
	// worked after every message with a lower number had been written.
	acked uint64
	// answered is the latest deadline of an acknowledged message.
	answered time.Time
	ended    bool // no further entries
	// shares bounds how many messages of late topics there are.
	shares *link.Shares
}

func newPending(window int) *pending {
	return &pending{
		slots: make([]entry, 0, window), free: make([]uint32, 0, window), again: make(map[uint64]uint32),
		shares: link.SharesOf(window),
	}
}

// Why a message was not taken in.
var (
	errEnded  = errors.New("the connection has ended")
	errCrowds = errors.New("its topic has its share of the window")
)

// add adds a message before it is written. It returns errEnded once end was called, and
// errCrowds if the message's topic is late and has its share in flight. A message that
// is published again is always let in.
func (p *pending) add(it item, size int64, deadline time.Time) (ticket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return ticket{}, errEnded
	}
	if it.on != p && !p.shares.HasRoom(it.message.Topic) {
		return ticket{}, errCrowds
	}
	var slot uint32
	if n := len(p.free); n > 0 {
		slot, p.free = p.free[n-1], p.free[:n-1]
	} else {
		slot = uint32(len(p.slots))
		p.slots = append(p.slots, entry{})
	}
	p.last++
	if it.on != p {
		it.on, it.first, it.earlier = p, p.last, 0
	}
	if it.earlier != 0 {
		p.again[it.earlier] = slot
	}
	if !it.due.IsZero() {
		deadline = it.due
	}
	p.slots[slot] = entry{
		item: it, slot: slot, number: p.last, size: size, deadline: deadline,
		limited: p.shares.Take(it.message.Topic),
	}
	return ticket{slot, p.last}, nil
}

// reserve gives a number to a publish in a batch, which is not kept here. It returns
// errEnded once end was called.
func (p *pending) reserve() (number uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return 0, errEnded
	}
	p.last++
	return p.last, nil
}

// noteAnswered does for messages of a batch what acknowledge does for one message.
// limit is how long a message may wait.
func (p *pending) noteAnswered(entries []laneEntry, limit time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := entries[len(entries)-1]
	p.acked = max(p.acked, last.number)
	if deadline := last.began.Add(limit); deadline.After(p.answered) {
		p.answered = deadline
	}
}

// lastNumber returns the number of the last publish; 0: there was none.
func (p *pending) lastNumber() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// take removes a message, unless it was taken before.
func (p *pending) take(t ticket) (item, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeLocked(t)
}

// acknowledge takes out an acknowledged message, as take does. An acknowledgement that
// comes too late for its message still proves that the broker works.
func (p *pending) acknowledge(t ticket) (item, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.number <= p.last {
		p.acked = max(p.acked, t.number)
	}
	if e := p.find(t); e != nil && e.deadline.After(p.answered) {
		p.answered = e.deadline
	}
	it, ok := p.takeLocked(t)
	if ok {
		p.shares.NoteAcknowledged(it.message.Topic)
	}
	return it, ok
}

func (p *pending) takeLocked(t ticket) (item, bool) {
	e := p.find(t)
	if e == nil {
		return item{}, false
	}
	it := e.item
	p.clear(e)
	return it, true
}

// clear frees the slot of an entry and drops the reference to its message.
func (p *pending) clear(e *entry) {
	delete(p.again, e.earlier)
	if e.limited {
		p.shares.Release(e.message.Topic)
	}
	p.free = append(p.free, e.slot)
	*e = entry{}
}

// find returns the message in flight that the ticket names, or nil. The caller holds
// the lock.
func (p *pending) find(t ticket) *entry {
	if int(t.slot) < len(p.slots) && t.number != 0 && p.slots[t.slot].number == t.number {
		return &p.slots[t.slot]
	}
	if slot, ok := p.again[t.number]; ok {
		return &p.slots[slot]
	}
	return nil
}

// markUnclaimed notes that no stream took the message, and returns its topic.
func (p *pending) markUnclaimed(t ticket) (topic string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.find(t)
	if e == nil {
		return "", false
	}
	e.phase = unclaimed
	return e.message.Topic, true
}

// markStranger notes that something that is no stream has answered. A stream may still
// answer.
func (p *pending) markStranger(t ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.find(t); e != nil {
		e.stranger = true
	}
}

// markProposed notes that a stream has the message's id in process. The message is
// repeated, but only before until. After that it waits for its deadline.
func (p *pending) markProposed(t ticket, now, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.find(t)
	if e == nil {
		return
	}
	e.proposed = true
	e.repeat(now, until)
}

// markUndecided notes that a look-up for the unclaimed messages of a topic has decided
// nothing, and why. Before until they are repeated. After that they wait until the new
// deadline for other evidence.
func (p *pending) markUndecided(topic string, why error, now, until, deadline time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.slots {
		if e := &p.slots[i]; e.number != 0 && e.phase == unclaimed && e.message.Topic == topic {
			e.doubt = why
			if !e.repeat(now, until) {
				e.phase, e.deadline = undecided, deadline
			}
		}
	}
}

// noteLate gives the topic a small share of the window until one of its messages is
// acknowledged.
func (p *pending) noteLate(topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shares.NoteLate(topic)
}

// lastAcknowledged returns the highest number that was acknowledged; 0: there was none.
func (p *pending) lastAcknowledged() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

// lastAnswered returns the latest deadline of an acknowledged message. Zero: there was
// none.
func (p *pending) lastAnswered() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered
}

// takeIf removes the messages for which the condition holds, and returns them in the
// order in which they were published. acked is the highest number that was
// acknowledged.
func (p *pending) takeIf(condition func(e *entry, acked uint64) bool) []entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []entry
	for i := range p.slots {
		if e := &p.slots[i]; e.number != 0 && condition(e, p.acked) {
			taken = append(taken, *e)
			p.clear(e)
		}
	}
	slices.SortFunc(taken, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	return taken
}

// any returns whether the condition holds for a message.
func (p *pending) any(condition func(e *entry) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.slots {
		if e := &p.slots[i]; e.number != 0 && condition(e) {
			return true
		}
	}
	return false
}

// end refuses further messages, and removes and returns those that are there.
func (p *pending) end() []entry {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	return p.takeIf(func(*entry, uint64) bool { return true })
}

// valid returns whether the slots and the free list agree. It is for tests.
func (p *pending) valid() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := make(map[uint32]bool)
	for number, slot := range p.again {
		if e := p.slots[slot]; e.number == 0 || e.earlier != number {
			return false
		}
	}
	for _, slot := range p.free {
		if free[slot] || int(slot) >= len(p.slots) || p.slots[slot].number != 0 || p.slots[slot].message != nil {
			return false
		}
		free[slot] = true
	}
	for i := range p.slots {
		if e := &p.slots[i]; (e.number == 0) != free[uint32(i)] || e.number > p.last {
			return false
		}
	}
	return p.acked <= p.last
}
