package engine

import (
	"maps"

	"github.com/outbox-relay/outbox-relay/relay"
)

// parkedKeys are the keys that a pass or a survey leaves out when it reads on, because
// their chains are full. When a chain empties, more rows of its key are read (a
// refill), from where the key was parked up to the bound of the pass or survey. So for
// that key it is an ordinary pass, only slow. The zero value has no keys.
type parkedKeys struct {
	after map[string]int64 // by key: the id after which to go on
	// refilling is the key whose rows are being read.
	refilling string
	// nextSize is the size of the row that did not fit into the last refill, in bytes;
	// 0 if there was none.
	nextSize int64
}

func (p *parkedKeys) empty() bool { return len(p.after) == 0 }

func (p *parkedKeys) has(key string) bool {
	_, parked := p.after[key]
	return parked
}

// park leaves the row, and the later rows of its key, to a refill.
func (p *parkedKeys) park(m *relay.Message) {
	p.parkAfter(m.KeyName(), m.ID-1)
}

func (p *parkedKeys) parkAfter(key string, id int64) {
	if p.after == nil {
		p.after = make(map[string]int64)
	}
	p.after[key] = id
}

// appendTo appends the keys, for a chunk that leaves them out.
func (p *parkedKeys) appendTo(keys []string) []string {
	for key := range p.after {
		keys = append(keys, key)
	}
	return keys
}

// refill is a request for rows of a parked key.
type refill struct {
	key   string
	after int64 // rows with a larger id
	rows  int   // at most so many
}

// next picks a key whose chain is half empty (with onlyEmpty: empty), if there is one.
// On the way it takes out keys that are held by now: the next pass reads them.
func (p *parkedKeys) next(d *dispatcher, h *holds, onlyEmpty bool) (refill, bool) {
	for key, after := range p.after {
		switch waiting := d.waiting(key); {
		case h.blocks(key):
			delete(p.after, key)
		case waiting == 0, !onlyEmpty && waiting <= d.chain/2:
			p.refilling = key
			return refill{key: key, after: after, rows: d.chain - waiting}, true
		}
	}
	return refill{}, false
}

// unparkHeld takes out the keys that are held by now: their rows are read from the first
// one on.
func (p *parkedKeys) unparkHeld(h *holds) {
	maps.DeleteFunc(p.after, func(key string, _ int64) bool { return h.blocks(key) })
}

// unpark takes out the key that was refilled, so that its rows can be taken in.
func (p *parkedKeys) unpark() { delete(p.after, p.refilling) }

// refilled parks the key again, after the last row that was read, unless there are no
// more rows. If the chain filled up before that, the key is parked already.
func (p *parkedKeys) refilled(c relay.Chunk, h *holds) {
	p.nextSize = c.NextSize
	if !p.has(p.refilling) && !c.Done && !h.blocks(p.refilling) {
		p.parkAfter(p.refilling, c.Cursor)
	}
}
