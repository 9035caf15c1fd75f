package engine

import (
	"math/rand/v2"

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

// String returns the ordering as OUTBOX_ORDERING has it.
func (o Ordering) String() string { return orderingNames[o] }

// limits bound what the dispatcher holds.
type limits struct {
	window      int   // messages published whose outcome is not committed
	windowBytes int64 // of messages published whose outcome is not reported
	chain       int   // messages of one key held in memory
}

// dispatcher decides which message may be published next. It is arithmetic:
// no I/O, no clock, no goroutine.
//
// One message of each key is on its way at a time; the others wait behind it in
// the key's chain. The heads of all chains and the messages without a key share
// one queue, so a hot key gets one turn like any other and starves nobody. Its chain
// is capped, so that it cannot fill the memory that the others need.
//
// The life of a message: add (queued) → next (published) → reported → release
// or returnFollowers (its key goes on, or not) → committed (out of the window).
type dispatcher struct {
	limits
	ordering Ordering

	ready  fifo[*item]       // may be published: heads of chains, messages without a key
	chains map[string]*chain // one for each key with a message in ready or published

	queued      tally // in ready or behind a head
	unreported  tally // with the sink
	uncommitted int   // published and not committed; at least unreported.rows
	alone       bool  // a message published alone is unreported
}

// chain is the run of messages of one key.
type chain struct {
	published bool        // the head is with the sink; else it is in ready
	followers fifo[*item] // wait for the head's acknowledgement
}

// tally counts messages and their bytes.
type tally struct {
	rows  int
	bytes int64
}

func (t *tally) add(m *item) { t.rows++; t.bytes += m.Size }
func (t *tally) sub(m *item) { t.rows--; t.bytes -= m.Size }

func newDispatcher(l limits, o Ordering) *dispatcher {
	return &dispatcher{limits: l, ordering: o, chains: make(map[string]*chain)}
}

// ordered says whether the message waits for others of its key.
func (d *dispatcher) ordered(m *relay.Message) bool { return m.Keyed && d.ordering == OrderByKey }

// add takes a message in, or returns false where its key's chain is full.
func (d *dispatcher) add(m *item) bool {
	if !d.ordered(m.Message) {
		d.queued.add(m)
		d.ready.push(m)
		return true
	}
	c := d.chains[m.KeyName()]
	switch {
	case c == nil:
		d.chains[m.KeyName()] = &chain{}
		d.ready.push(m)
	case c.followers.len+1 >= d.chain:
		return false
	default:
		c.followers.push(m)
	}
	d.queued.add(m)
	return true
}

// next returns the message to publish now, or nil while the window has no room.
// A suspect goes alone: it waits until nothing else is unreported, and nothing
// else goes until it has been reported.
func (d *dispatcher) next(suspect func(relay.Ref) bool) *item {
	if d.ready.len == 0 || d.alone || !d.hasRoom(d.ready.peek()) {
		return nil
	}
	if suspect(d.ready.peek().Ref) {
		if d.unreported.rows > 0 {
			return nil
		}
		d.alone = true
	}
	m := d.ready.pop()
	if d.ordered(m.Message) {
		d.chains[m.KeyName()].published = true
	}
	d.queued.sub(m)
	d.unreported.add(m)
	d.uncommitted++
	return m
}

// pickAny moves a random message that may be published to the front of the queue.
func (d *dispatcher) pickAny() {
	if d.ready.len > 1 {
		d.ready.swap(0, rand.IntN(d.ready.len))
	}
}

// hasRoom says whether the window, which is bounded by count and by bytes, takes the
// message. One that is larger than the whole window goes when nothing else is with the
// sink. An acknowledged message takes no bytes: it may wait long for its mark, where
// somebody has the row locked.
func (d *dispatcher) hasRoom(m *item) bool {
	return d.uncommitted < d.window &&
		(d.unreported.rows == 0 || d.unreported.bytes+m.Size <= d.windowBytes)
}

// reported notes that a published message has its outcome. From here on only its
// Ref is needed, so payload and headers are freed.
func (d *dispatcher) reported(m *item) {
	d.unreported.sub(m)
	d.alone = false
	m.Payload, m.Headers = nil, nil
	m.Key = m.KeyName()
}

// release lets the next message of the key go: m has been acknowledged.
func (d *dispatcher) release(m *item) {
	if !d.ordered(m.Message) {
		return
	}
	c := d.chains[m.KeyName()]
	if c.followers.len == 0 {
		delete(d.chains, m.KeyName())
		return
	}
	c.published = false
	d.ready.push(c.followers.pop())
}

// returnFollowers ends the chain of m, which will not be acknowledged now, and
// returns the messages that waited behind it. The caller holds the key.
func (d *dispatcher) returnFollowers(m *item) []*item {
	if !d.ordered(m.Message) {
		return nil
	}
	c := d.chains[m.KeyName()]
	delete(d.chains, m.KeyName())
	return d.drain(&c.followers, nil)
}

// committed takes a message out of the window: its outcome is in the table, or
// it has returned to the table.
func (d *dispatcher) committed() { d.uncommitted-- }

// waiting is how many messages of the key are in memory and not acknowledged.
func (d *dispatcher) waiting(key string) int {
	c := d.chains[key]
	if c == nil {
		return 0
	}
	return 1 + c.followers.len
}

// returnQueued takes out everything that has not been published, for the table.
// Chains whose head is with the sink stay, so that its key keeps its place.
func (d *dispatcher) returnQueued() []*item {
	var returned []*item
	for key, c := range d.chains {
		returned = d.drain(&c.followers, returned)
		if !c.published {
			delete(d.chains, key)
		}
	}
	return d.drain(&d.ready, returned)
}

func (d *dispatcher) drain(q *fifo[*item], to []*item) []*item {
	for q.len > 0 {
		m := q.pop()
		d.queued.sub(m)
		to = append(to, m)
	}
	return to
}

// memory is how much the dispatcher holds: what waits, and what was published but is
// not committed.
func (d *dispatcher) memory() tally {
	return tally{d.queued.rows + d.uncommitted, d.queued.bytes + d.unreported.bytes}
}

// valid checks what is written at the fields, one message after the other.
func (d *dispatcher) valid() bool {
	waiting := d.ready.len
	for _, c := range d.chains {
		waiting += c.followers.len
		if c.followers.len >= max(1, d.chain) {
			return false
		}
	}
	return waiting == d.queued.rows && d.unreported.rows <= d.uncommitted &&
		d.queued.bytes >= 0 && d.unreported.bytes >= 0 && (!d.alone || d.unreported.rows == 1)
}
