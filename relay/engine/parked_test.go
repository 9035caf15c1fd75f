package engine

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

func rowOf(id int64, key string) *relay.Message {
	return &relay.Message{Ref: relay.Ref{ID: id}, Key: key, Keyed: true, Size: 1}
}

// A pass over many rows of few keys, with chains of four, brings each row once and
// those of a key in order, whatever fills up, empties, is refilled or is held in
// between.
func TestParkedKeysAreRefilledInOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		table := make([]*relay.Message, 200)
		for i := range table {
			table[i] = rowOf(int64(i+1), strconv.Itoa(random.IntN(5)))
		}
		d, h := newDispatcher(limits{window: 1, windowBytes: 1 << 20, chain: 4}, OrderByKey), newHolds()
		var parked parkedKeys
		took := map[string]int64{} // the last row of each key
		take := func(m *relay.Message) {
			switch {
			case parked.has(m.Key), h.blocks(m.Key):
			case !d.add(&item{Message: m}):
				parked.park(m)
			default:
				for _, skipped := range table[took[m.Key] : m.ID-1] {
					if skipped.Key == m.Key {
						t.Fatalf("row %d of key %s came before row %d", m.ID, m.Key, skipped.ID)
					}
				}
				took[m.Key] = m.ID
			}
		}
		for cursor, turns := 0, 0; cursor < len(table) || !parked.empty(); turns++ {
			if turns == 100*len(table) {
				t.Fatalf("keys %v are never refilled", parked.after)
			}
			if m := d.next(nobody, noLane); m != nil {
				d.reported(m)
				d.release(m)
				d.committed()
			}
			switch random.IntN(3) {
			case 0:
				for end := min(len(table), cursor+10); cursor < end; cursor++ {
					take(table[cursor])
				}
			case 1:
				if next, found := parked.next(d, h, false); found {
					parked.unpark()
					chunk := chunkOf(table, next)
					for _, row := range chunk.Rows {
						take(row.Message)
					}
					parked.refilled(chunk, h)
				}
			}
		}
		for _, m := range table {
			if m.ID > took[m.Key] {
				t.Fatalf("row %d of key %s never came", m.ID, m.Key)
			}
		}
	}
}

// chunkOf answers the request for rows of a parked key.
func chunkOf(table []*relay.Message, r refill) relay.Chunk {
	c := relay.Chunk{Cursor: r.after, Done: true}
	for _, m := range table {
		if m.Key != r.key || m.ID <= r.after {
			continue
		}
		if len(c.Rows) == r.rows {
			c.Done = false
			break
		}
		c.Rows = append(c.Rows, relay.Row{Message: m})
		c.Cursor = m.ID
	}
	return c
}

func TestParkedKeyThatIsHeldIsLeftToTheNextPass(t *testing.T) {
	t.Parallel()
	d, h := newDispatcher(limits{window: 1, windowBytes: 1, chain: 2}, OrderByKey), newHolds()
	var parked parkedKeys
	parked.park(rowOf(7, "K"))
	h.hold("K")
	if next, found := parked.next(d, h, false); found || !parked.empty() {
		t.Errorf("a held key is refilled (%+v), or stays parked (%v)", next, parked.after)
	}

	parked.park(rowOf(8, "L"))
	next, found := parked.next(d, h, false)
	if want := (refill{key: "L", after: 7, rows: 2}); !found || next != want {
		t.Fatalf("refill %+v (%t), want %+v", next, found, want)
	}
	parked.unpark()
	h.hold("L") // a row that the refill brought waits for its retry
	if parked.refilled(relay.Chunk{Cursor: 9}, h); !parked.empty() {
		t.Errorf("a key that was held during its refill stays parked: %v", parked.after)
	}
}

// A refill that brings more rows than the chain takes parks its key at the first of
// them, not at the end of the chunk.
func TestRefillThatFillsTheChainGoesOnAtTheRowThatDidNotFit(t *testing.T) {
	t.Parallel()
	d, h := newDispatcher(limits{window: 1, windowBytes: 1, chain: 2}, OrderByKey), newHolds()
	var parked parkedKeys
	parked.park(rowOf(3, "K"))
	if _, found := parked.next(d, h, false); !found {
		t.Fatal("a parked key whose chain is empty is not refilled")
	}
	parked.unpark()
	parked.park(rowOf(5, "K"))
	parked.refilled(relay.Chunk{Cursor: 9, NextSize: 12}, h)
	if parked.after["K"] != 4 || parked.nextSize != 12 {
		t.Errorf("parked after row %d with the next row of %d bytes, want 4 and 12", parked.after["K"], parked.nextSize)
	}
}

// While memory is more than half full, only a key of which nothing is in memory is
// refilled: rows that come by the log may keep it so for long.
func TestParkedKeyWithAnEmptyChainIsRefilledInAFullMemory(t *testing.T) {
	d, h := newDispatcher(limits{window: 10, windowBytes: 1 << 20, chain: 4}, OrderByKey), newHolds()
	var parked parkedKeys
	d.add(keyed(1, "a"))
	parked.parkAfter("a", 1)
	if next, found := parked.next(d, h, true); found {
		t.Errorf("key %s is refilled, of which rows are in memory", next.key)
	}
	parked.parkAfter("b", 2)
	if next, found := parked.next(d, h, true); !found || next.key != "b" {
		t.Errorf("key %s (%t), want b, of which nothing is in memory", next.key, found)
	}
}
