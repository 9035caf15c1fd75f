package engine

import (
	"hash/maphash"
	"slices"
)

// holds are the keys whose rows wait in the table. A key is held because one of its
// rows was refused, has returned, or waits for its retry, and has to go first. Or it is
// held because the running pass may have missed one of its rows (see relay.Row.Newer).
//
// Schedule that reorders: rows 1 and 2 of a key are in memory, and a pass is reading.
// 1 is refused and will be retried in a minute. The pass brings row 3 of the key and
// it is published: 3 before 1. So the key is held from the refusal on. What the
// running pass brings of it is skipped, and later chunks leave it out in SQL. Only a
// pass that begins after the last row returned, and after the refusal was committed,
// may bring the key's rows again. That pass reads in id order, so it meets the first
// one first. If that one is still waiting, the pass renews the hold.
//
// When a broker refuses everything, or a topic is full for a night, millions of keys
// can be held. The first ones are kept as text, so that chunks leave them out. Of
// further ones only a hash is kept, and their rows are skipped when they come. Two keys
// with the same hash (one pair in 2^64) wait for each other. Still more keys go into a
// filter, which takes some other keys for held too, for the time of one pass.
type holds struct {
	// awaited counts, for each held key, what has to be over before its hold may end:
	// refusals that are not committed, and messages behind them that the sink has not
	// reported.
	awaited map[string]int
	more    map[uint64]struct{}
	many    keyFilter
	// Those that ended when the last snapshot began.
	ended     map[string]struct{}
	endedMore map[uint64]struct{}
	endedMany keyFilter
	seed      maphash.Seed
}

const (
	// maxHeldKeys go with every chunk to the database.
	maxHeldKeys = 20_000
	// maxLeftKeys of them may be held because of a row of a full topic. A chunk brings
	// only the keys of such rows, so it gains little by leaving them out, unless the
	// key is hot.
	maxLeftKeys = 1000
	// maxHashedKeys bounds the memory, to some 40 MiB.
	maxHashedKeys = 2_000_000
)

func newHolds() *holds {
	return &holds{
		awaited: make(map[string]int), more: make(map[uint64]struct{}),
		ended: make(map[string]struct{}), endedMore: make(map[uint64]struct{}), seed: maphash.MakeSeed(),
	}
}

// hold holds the key: a row of it returns to the table, or waits there.
func (h *holds) hold(key string) {
	if _, held := h.awaited[key]; held {
		return
	}
	if len(h.awaited) < maxHeldKeys {
		h.awaited[key] = 0
		return
	}
	h.holdMore(key)
}

// leave holds the key: a row of it stays in the table, because its topic is full.
func (h *holds) leave(key string) {
	if _, held := h.awaited[key]; held || len(h.awaited) < maxLeftKeys {
		h.hold(key)
		return
	}
	h.holdMore(key)
}

func (h *holds) holdMore(key string) {
	hash := maphash.String(h.seed, key)
	if _, held := h.more[hash]; held || len(h.more) < maxHashedKeys {
		h.more[hash] = struct{}{}
		return
	}
	h.many.add(key)
}

// await holds the key until n things are over (the commit of a refusal, the sink's
// reports of later messages), and then for the rest of the running pass.
func (h *holds) await(key string, n int) {
	if n > 0 {
		h.awaited[key] += n
	}
}

// over notes that one of the things is over for which the key was held.
func (h *holds) over(key string) {
	h.awaited[key]--
	if h.awaited[key] == 0 && len(h.awaited) > maxHeldKeys {
		delete(h.awaited, key)
		h.hold(key)
	}
}

// release ends the hold of a key, if what it waited for is over: nothing of it is left in
// the table that has to go first.
func (h *holds) release(key string) {
	if n, held := h.awaited[key]; held && n == 0 {
		delete(h.awaited, key)
	}
}

// snapshotBegins is called before a pass takes its first snapshot, and before a survey.
// It ends the holds whose reasons that snapshot sees, because the pass or survey will
// meet the rows in the table. If the pass ends early, the next one begins at the lowest
// id again.
func (h *holds) snapshotBegins() {
	clear(h.ended)
	for key, n := range h.awaited {
		if n == 0 {
			delete(h.awaited, key)
			h.ended[key] = struct{}{}
		}
	}
	clear(h.endedMore)
	h.more, h.endedMore = h.endedMore, h.more
	h.endedMany.clear()
	h.many, h.endedMany = h.endedMany, h.many
}

// wasHeld says whether the key is held, or was until the last snapshot began.
func (h *holds) wasHeld(key string) bool {
	if _, ended := h.ended[key]; ended || h.blocks(key) {
		return true
	}
	if len(h.endedMore) == 0 {
		return false
	}
	_, ended := h.endedMore[maphash.String(h.seed, key)]
	return ended || h.endedMany.has(key)
}

// size is how many keys are held.
func (h *holds) size() int { return len(h.awaited) + len(h.more) + h.many.keys }

// some are at most so many held keys, of those told last the ones that still are: a page
// that shows them does not flicker. What was told is not changed, somebody may read it.
func (h *holds) some(told []string, most int) []string {
	if len(h.awaited) == 0 {
		return nil
	}
	same := len(told) == min(most, len(h.awaited))
	for _, key := range told {
		_, held := h.awaited[key]
		same = same && held
	}
	if same {
		return told
	}
	keys := make([]string, 0, most)
	for _, key := range told {
		if _, held := h.awaited[key]; held {
			keys = append(keys, key)
		}
	}
	for key := range h.awaited {
		if len(keys) == most {
			break
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// blocks says whether the running pass has to skip rows of the key.
func (h *holds) blocks(key string) bool {
	if _, held := h.awaited[key]; held {
		return true
	}
	if len(h.more) == 0 {
		return false
	}
	_, held := h.more[maphash.String(h.seed, key)]
	return held || h.many.has(key)
}

// excluded lists the keys that the next chunk of the pass leaves out.
func (h *holds) excluded() []string {
	keys := make([]string, 0, len(h.awaited))
	for key := range h.awaited {
		keys = append(keys, key)
	}
	return keys
}

// valid checks that no more is over than was awaited.
func (h *holds) valid() bool {
	for _, n := range h.awaited {
		if n < 0 {
			return false
		}
	}
	return true
}
