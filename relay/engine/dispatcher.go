package engine

import (
	"math/rand/v2"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Ordering says which messages wait for each other.
type Ordering uint8

// The orderings.
const (
	OrderByKey Ordering = iota // messages of one key are delivered one after the other
	OrderNone                  // every message is delivered as soon as the window has room
)

var orderingNames = [...]string{"key", "none"}

// String returns the value of OUTBOX_ORDERING.
func (o Ordering) String() string { return orderingNames[o] }

// dispatcher decides which message may be published next. It is arithmetic:
// no I/O, no clock, no goroutine.
//
// The messages of a key wait for each other in a chain. If the sink names no lane, one
// of them is on its way at a time. If all go in one lane, many are. Chains and the
// messages without a key take turns in one queue. A chain is in the queue once; after
// it has published a message it goes to the end. So a hot key starves nobody. Its chain
// is capped, so that it cannot fill the memory that the others need.
//
// The life of a message: add (queued) → next (published) → reported, and then release
// (its key goes on) or fail (its key waits) → committed (out of the window). Or it is
// withdrawn, and is queued again.
type dispatcher struct {
	limits
	ordering Ordering

	ready  fifo[candidate]   // may be published
	chains map[string]*chain // one for each key with a message that waits or is with the sink
	unused []*chain          // empty ones, for keys to come
	count  uint64            // how many messages of chains were published

	queued      tally // not published, or withdrawn
	unreported  tally // with the sink
	uncommitted int   // published and not committed; at least unreported.rows
	alone       bool  // a message published alone is unreported
	// beside says that the sink has a message that is counted nowhere here.
	beside bool
}

// candidate has a turn in the queue: a chain, or a message without a key.
type candidate struct {
	item  *item  // nil for a chain
	chain *chain // the turn is for its first message that waits, if that may still go
}

func newDispatcher(l limits, o Ordering) *dispatcher {
	return &dispatcher{limits: l, ordering: o, chains: make(map[string]*chain)}
}

// ordered says whether the message waits for others of its key.
func (d *dispatcher) ordered(m *relay.Message) bool { return m.Keyed && d.ordering == OrderByKey }

// add adds a message. It returns false if the chain of its key is full.
func (d *dispatcher) add(m *item) bool {
	if !d.ordered(m.Message) {
		d.queued.add(m)
		d.ready.push(candidate{item: m})
		return true
	}
	c := d.chains[m.KeyName()]
	switch {
	case c == nil:
		c = d.newChain(m.KeyName())
	case c.failed, c.size() >= d.chain:
		return false
	}
	m.chain = c
	c.waiting.push(m)
	d.queued.add(m)
	d.giveTurn(c)
	return true
}

func (d *dispatcher) newChain(name string) *chain {
	c := &chain{}
	if n := len(d.unused); n > 0 {
		c, d.unused = d.unused[n-1], d.unused[:n-1]
	}
	*c = chain{name: name, span: c.span, waiting: c.waiting} // with the memory of their rings
	d.chains[name] = c
	return c
}

// maxUnused bounds the chains that are kept for other keys.
const maxUnused = 256

// drop takes out a chain without messages. It is used for another key later, if it is small
// and the queue does not have it.
func (d *dispatcher) drop(c *chain) {
	delete(d.chains, c.name)
	if !c.hasTurn && len(d.unused) < maxUnused && len(c.span.ring)+len(c.waiting.ring) <= 64 {
		d.unused = append(d.unused, c)
	}
}

// giveTurn puts the chain at the end of the queue, if it may go on.
func (d *dispatcher) giveTurn(c *chain) {
	if !c.hasTurn && c.mayGoOn(d.keyWindow) {
		c.hasTurn = true
		d.ready.push(candidate{chain: c})
	}
}

// front returns the message whose turn it is, or nil. It drops the turns of chains that
// may not go on any more.
func (d *dispatcher) front() *item {
	for d.ready.len > 0 {
		first := d.ready.peek()
		if first.chain == nil {
			return first.item
		}
		if first.chain.mayGoOn(d.keyWindow) {
			return first.chain.waiting.peek()
		}
		d.popTurn()
	}
	return nil
}

func (d *dispatcher) popTurn() {
	if c := d.ready.pop().chain; c != nil {
		c.hasTurn = false
	}
}

// next returns the message to publish now, with its lane, or nil if none may go or the
// window has no room. A suspect goes alone: it waits until nothing else is unreported,
// and nothing else goes until it has been reported.
func (d *dispatcher) next(suspect func(relay.Ref) bool, laneOf func(*relay.Message) relay.Lane) *item {
	for {
		m := d.front()
		if m == nil || d.alone || !d.hasRoom(m) {
			return nil
		}
		alone := suspect(m.Ref)
		if alone && (d.unreported.rows > 0 || d.beside) {
			return nil
		}
		d.popTurn()
		m.lane = d.lane(m, alone, laneOf)
		if c := m.chain; c != nil {
			if !c.joins(m.lane) {
				continue // it gets a turn when those with the sink are reported
			}
			c.publish()
			d.count++
			m.number = d.count
			d.giveTurn(c)
		}
		d.alone = alone
		d.queued.sub(m)
		d.unreported.add(m)
		d.uncommitted++
		m.withSink = true
		return m
	}
}

// lane returns the lane for a message. A lane that is not strict is used only if
// several messages of a key may be on their way.
func (d *dispatcher) lane(m *item, alone bool, laneOf func(*relay.Message) relay.Lane) relay.Lane {
	if alone || m.Defect != nil {
		return relay.Lane{}
	}
	l := laneOf(m.Message)
	if !l.Strict && (m.chain == nil || d.keyWindow <= 1) {
		return relay.Lane{}
	}
	return l
}

// pickAny moves a random message that may be published to the front of the queue.
func (d *dispatcher) pickAny() {
	if d.ready.len > 1 {
		d.ready.swap(0, rand.IntN(d.ready.len))
	}
}

// reported notes that a published message has its outcome. From here on only its
// Ref is needed, so payload and headers are freed.
func (d *dispatcher) reported(m *item) {
	d.unreported.sub(m)
	d.alone, m.withSink = false, false
	m.Payload, m.Headers = nil, nil
	m.Key = m.KeyName()
}

// giveUp takes a message into the window that is not published: its outcome is known, and
// is to be committed.
func (d *dispatcher) giveUp(m *item) {
	d.uncommitted++
	m.Payload, m.Headers = nil, nil
	m.Key = m.KeyName()
}

// release lets the next messages of the key go: m has been acknowledged.
func (d *dispatcher) release(m *item) {
	if m.chain != nil {
		d.left(m)
		m.chain = nil
	}
}

// withdraw queues a message again that the sink gives back, unless a message of its key
// has failed.
func (d *dispatcher) withdraw(m *item) {
	d.unreported.sub(m)
	d.alone, m.withSink = false, false
	d.uncommitted--
	d.queued.add(m)
	if m.chain == nil {
		d.ready.pushFront(candidate{item: m})
		return
	}
	m.chain.withdrawn = append(m.chain.withdrawn, m)
	d.left(m)
}

// fail ends the chain of m, because m will not be acknowledged now. It returns the
// chain's messages that the sink does not have. The caller holds the key until the sink
// has reported the others.
func (d *dispatcher) fail(m *item) []*item {
	c := m.chain
	if c == nil {
		return nil
	}
	c.failed = true
	returned := d.returnChain(c, nil)
	d.left(m)
	m.chain = nil
	return returned
}

// left notes that a message of a chain is no longer with the sink.
func (d *dispatcher) left(m *item) {
	c := m.chain
	c.left(m)
	if c.size() == 0 {
		d.drop(c)
		return
	}
	d.giveTurn(c)
}

// waiting is how many messages of the key are in memory and not acknowledged.
func (d *dispatcher) waiting(key string) int {
	c := d.chains[key]
	if c == nil {
		return 0
	}
	return c.size()
}

// returnQueued takes out all messages that the sink does not have; they return to the
// table. A chain stays while the sink has one of its messages, so that later messages
// of the key wait for it.
func (d *dispatcher) returnQueued() []*item {
	var returned []*item
	for key, c := range d.chains {
		returned = d.returnChain(c, returned)
		if c.with == 0 {
			delete(d.chains, key)
		}
	}
	for d.ready.len > 0 {
		m := d.ready.peek().item
		d.popTurn()
		if m != nil {
			d.queued.sub(m)
			returned = append(returned, m)
		}
	}
	return returned
}

// returnChain takes out the messages of a chain that are not with the sink.
func (d *dispatcher) returnChain(c *chain, to []*item) []*item {
	from := len(to)
	to = append(to, c.withdrawn...)
	c.withdrawn = nil
	for c.waiting.len > 0 {
		to = append(to, c.waiting.pop())
	}
	for _, m := range to[from:] {
		d.queued.sub(m)
	}
	return to
}

// returnTopic takes out the messages of a topic that the sink does not have, and the
// messages that wait behind them in the chains of their keys. The caller holds the
// keys.
func (d *dispatcher) returnTopic(topic string) []*item {
	var returned []*item
	for n := d.ready.len; n > 0; n-- {
		first := d.ready.pop()
		if first.item == nil || first.item.Topic != topic {
			d.ready.push(first)
			continue
		}
		d.queued.sub(first.item)
		returned = append(returned, first.item)
	}
	for name, c := range d.chains {
		returned = d.returnFrom(c, topic, returned)
		if c.size() == 0 {
			delete(d.chains, name)
		}
	}
	return returned
}

// returnFrom takes out the messages of a chain that wait, from the first one of the
// topic on.
//
// Schedule that reorders: rows 1 and 2 of a key, of two topics, are with the sink. It
// gives 1 back, and the topic of 1 is full. If 1 went to the table now, 2 would be
// given back, published again and delivered before 1. So messages that were given back
// stay. They are tried again in order, and when 1 is postponed, those behind it go to
// the table too.
func (d *dispatcher) returnFrom(c *chain, topic string, to []*item) []*item {
	if slices.ContainsFunc(c.withdrawn, func(m *item) bool { return m.Topic == topic }) {
		return to
	}
	kept := 0
	for kept < c.waiting.len && c.waiting.at(kept).Topic != topic {
		kept++
	}
	for n := c.waiting.len; n > 0; n-- {
		m := c.waiting.pop()
		if kept > 0 {
			kept--
			c.waiting.push(m)
			continue
		}
		d.queued.sub(m)
		to = append(to, m)
	}
	return to
}

// valid checks for each message what the comments of the fields say.
func (d *dispatcher) valid() bool {
	queued, with := 0, 0
	for i := range d.ready.len {
		if d.ready.ring[(d.ready.head+i)%len(d.ready.ring)].item != nil {
			queued++
		}
	}
	for name, c := range d.chains {
		queued += len(c.withdrawn) + c.waiting.len
		with += c.with
		stuck := c.mayGoOn(d.keyWindow) && !c.hasTurn
		idle := c.with == 0 && (c.failed || c.size() == 0 || len(c.withdrawn) > 0)
		if name != c.name || c.with < 0 || c.with > c.span.len || stuck || idle || c.size() > max(1, d.chain) {
			return false
		}
	}
	return queued == d.queued.rows && with <= d.unreported.rows && d.unreported.rows <= d.uncommitted &&
		d.queued.bytes >= 0 && d.unreported.bytes >= 0 && (!d.alone || d.unreported.rows == 1)
}
