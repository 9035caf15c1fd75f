package relay

// holds are the keys that have rows in the table which must go before any newer
// row of the key: a refused row waiting for its retry, rows dropped from memory.
//
// Schedule that reorders: rows 1, 2 of a key are in memory, a pass is reading;
// 1 is refused and will be retried in a minute; the pass brings row 3 of the
// key and it is published: 3 before 1. So the key is held from the refusal on:
// what the running pass brings of it is skipped, later chunks leave it out in
// SQL, and only a pass that began after the last row was dropped, and after the
// refusal was committed, may bring the key's rows again, first one first.
//
// A pass releases a hold only when it is complete. One that ends early has not
// seen all the rows that have to go first.
type holds struct {
	keys map[string]*hold
}

// hold is one held key.
type hold struct {
	writing int // refusals of the key that are not yet committed
	// released says that the running pass, which began after the last event of
	// the hold, may bring the key's rows.
	released bool
}

func newHolds() *holds { return &holds{keys: make(map[string]*hold)} }

// drop holds the key, or renews its hold: a row of it went back to the table,
// was skipped, or is waiting there for its retry.
func (h *holds) drop(key string) *hold {
	k := h.keys[key]
	if k == nil {
		k = &hold{}
		h.keys[key] = k
	}
	k.released = false
	return k
}

// refuse holds the key until the refusal of its row has been committed.
func (h *holds) refuse(key string) { h.drop(key).writing++ }

// refused notes that the refusal has been committed.
func (h *holds) refused(key string) { h.drop(key).writing-- }

// passBegins is called before the pass takes its first snapshot: what happened
// until now is in it, and what happens from now on is not.
func (h *holds) passBegins() {
	for _, k := range h.keys {
		k.released = k.writing == 0
	}
}

// passCompleted ends the holds that were released to the pass and have not been
// renewed since.
func (h *holds) passCompleted() {
	for key, k := range h.keys {
		if k.released {
			delete(h.keys, key)
		}
	}
}

// passAbandoned takes the releases back: the pass ended early.
func (h *holds) passAbandoned() {
	for _, k := range h.keys {
		k.released = false
	}
}

// blocks says whether the running pass has to skip rows of the key.
func (h *holds) blocks(key string) bool {
	k := h.keys[key]
	return k != nil && !k.released
}

// excluded lists the keys that the next chunk of the pass leaves out.
func (h *holds) excluded() []string {
	var keys []string
	for key, k := range h.keys {
		if !k.released {
			keys = append(keys, key)
		}
	}
	return keys
}
