package relay

// Ordering says which messages wait for each other.
type Ordering uint8

// The orderings.
const (
	OrderByKey Ordering = iota // messages of one key are delivered one after the other
	OrderNone                  // every message is delivered as soon as the window has room
)

// limits bound what the dispatcher holds.
type limits struct {
	window      int   // messages published whose outcome is not committed
	windowBytes int64 // and their bytes
	chain       int   // messages of one key held in memory
}

// dispatcher decides which message may be published next. It is arithmetic:
// no I/O, no clock, no goroutine.
//
// Of each key one message at a time is on its way; the others wait behind it in
// the key's chain. The heads of all chains and the messages without a key share
// one queue, so a hot key gets one turn like any other and starves nobody, and
// its chain is capped so that it cannot fill the memory that the others need.
//
// The life of a message: add (queued) → next (published) → reported → release
// or dropFollowers (its key goes on, or not) → committed (out of the window).
type dispatcher struct {
	limits
	ordering Ordering

	ready  fifo[*Message]    // may be published: heads of chains, messages without a key
	chains map[string]*chain // one for each key with a message in ready or published

	queued      tally // in ready or behind a head
	outstanding tally // published, outcome not committed
	unreported  int   // published, outcome not reported; at most outstanding.rows
	alone       bool  // a message published alone is unreported
}

// chain is the run of messages of one key.
type chain struct {
	published bool           // the head is with the sink; else it is in ready
	followers fifo[*Message] // wait for the head's acknowledgement
}

// tally counts messages and their bytes.
type tally struct {
	rows  int
	bytes int64
}

func (t *tally) add(m *Message) { t.rows++; t.bytes += m.Size }
func (t *tally) sub(m *Message) { t.rows--; t.bytes -= m.Size }

func newDispatcher(l limits, o Ordering) *dispatcher {
	return &dispatcher{limits: l, ordering: o, chains: make(map[string]*chain)}
}

// ordered says whether the message waits for others of its key.
func (d *dispatcher) ordered(m *Message) bool { return m.Keyed && d.ordering == OrderByKey }

// add takes a message in, or returns false where its key's chain is full.
func (d *dispatcher) add(m *Message) bool {
	if !d.ordered(m) {
		d.queued.add(m)
		d.ready.push(m)
		return true
	}
	c := d.chains[m.Key]
	switch {
	case c == nil:
		d.chains[m.Key] = &chain{}
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
func (d *dispatcher) next(suspect func(Ref) bool) *Message {
	if d.ready.len == 0 || d.alone || !d.hasRoom(d.ready.peek()) {
		return nil
	}
	if suspect(d.ready.peek().Ref) {
		if d.unreported > 0 {
			return nil
		}
		d.alone = true
	}
	m := d.ready.pop()
	if d.ordered(m) {
		d.chains[m.Key].published = true
	}
	d.queued.sub(m)
	d.outstanding.add(m)
	d.unreported++
	return m
}

// hasRoom bounds the window by count and by bytes. A message larger than the
// whole window goes when the window is empty.
func (d *dispatcher) hasRoom(m *Message) bool {
	return d.outstanding.rows == 0 ||
		d.outstanding.rows < d.window && d.outstanding.bytes+m.Size <= d.windowBytes
}

// reported notes that a published message has its outcome.
func (d *dispatcher) reported() {
	d.unreported--
	d.alone = false
}

// release lets the next message of the key go: m has been acknowledged.
func (d *dispatcher) release(m *Message) {
	if !d.ordered(m) {
		return
	}
	c := d.chains[m.Key]
	if c.followers.len == 0 {
		delete(d.chains, m.Key)
		return
	}
	c.published = false
	d.ready.push(c.followers.pop())
}

// dropFollowers ends the chain of m, which will not be acknowledged now, and
// returns the messages that waited behind it. The caller holds the key.
func (d *dispatcher) dropFollowers(m *Message) []*Message {
	if !d.ordered(m) {
		return nil
	}
	c := d.chains[m.Key]
	delete(d.chains, m.Key)
	return d.drain(&c.followers, nil)
}

// committed takes m out of the window: its outcome is in the table, or it has
// been given back to the table.
func (d *dispatcher) committed(m *Message) { d.outstanding.sub(m) }

// dropQueued gives back everything that has not been published. Chains whose
// head is with the sink stay, so that its key keeps its place.
func (d *dispatcher) dropQueued() []*Message {
	var dropped []*Message
	for key, c := range d.chains {
		dropped = d.drain(&c.followers, dropped)
		if !c.published {
			delete(d.chains, key)
		}
	}
	return d.drain(&d.ready, dropped)
}

func (d *dispatcher) drain(q *fifo[*Message], to []*Message) []*Message {
	for q.len > 0 {
		m := q.pop()
		d.queued.sub(m)
		to = append(to, m)
	}
	return to
}

// memory is all that the dispatcher answers for.
func (d *dispatcher) memory() tally {
	return tally{d.queued.rows + d.outstanding.rows, d.queued.bytes + d.outstanding.bytes}
}
