package relay

import "math"

// inFlight is the one answer to "is this row on its way?". A row that a sweep
// brings and that is in here is not taken a second time.
//
// A row must not leave too early. Schedule that doubles a message: a sweep's
// statement takes its snapshot; the row's mark commits; the row leaves; the
// sweep's result arrives with the row, still unsent in that snapshot, and it is
// published again. So a row whose outcome is committed lingers until the
// running pass has gone by its id or has ended.
//
// Rows are known by (id, message id): after TRUNCATE … RESTART IDENTITY the same
// id is another row, which must not be mistaken for the one in flight.
type inFlight struct {
	// rows holds the message, or nil for a row that lingers.
	rows      map[Ref]*Message
	lingering []Ref

	sweeping      bool
	cursor, bound int64 // of the running pass
}

func newInFlight() *inFlight { return &inFlight{rows: make(map[Ref]*Message)} }

func (f *inFlight) has(r Ref) bool {
	_, ok := f.rows[r]
	return ok
}

func (f *inFlight) add(m *Message) { f.rows[m.Ref] = m }

// drop removes a row that goes back to the table unpublished: the next sweep is
// meant to bring it again.
func (f *inFlight) drop(r Ref) { delete(f.rows, r) }

// settle removes a row whose outcome is committed, as soon as no running sweep
// can bring it as it was before. It returns the row's message.
func (f *inFlight) settle(r Ref) *Message {
	m := f.rows[r]
	if f.canBring(r) {
		f.rows[r] = nil
		f.lingering = append(f.lingering, r)
		return m
	}
	delete(f.rows, r)
	return m
}

// canBring says whether the running pass has the row's id still before it.
func (f *inFlight) canBring(r Ref) bool {
	return f.sweeping && r.ID > f.cursor && r.ID <= f.bound
}

// passBegins is called before the pass takes its first snapshot, with the bound
// not yet known.
func (f *inFlight) passBegins() {
	f.sweeping, f.cursor, f.bound = true, math.MinInt64, math.MaxInt64
}

// passBounded tells the largest id that the pass can bring.
func (f *inFlight) passBounded(bound int64) {
	f.bound = bound
	f.expire()
}

// passReached is called once the rows up to the cursor have been taken in.
func (f *inFlight) passReached(cursor int64) {
	f.cursor = cursor
	f.expire()
}

// passEnded is called when no statement of the pass is running any more.
func (f *inFlight) passEnded() {
	f.sweeping = false
	f.expire()
}

// expire removes the lingering rows that the pass can no longer bring.
func (f *inFlight) expire() {
	kept := f.lingering[:0]
	for _, r := range f.lingering {
		if f.canBring(r) {
			kept = append(kept, r)
			continue
		}
		delete(f.rows, r)
	}
	f.lingering = kept
}
