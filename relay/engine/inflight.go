package engine

import "github.com/outbox-relay/outbox-relay/relay"

// inFlight is the one answer to "is this row on its way?". A row that is in here
// is not taken a second time, whatever brings it.
//
// A row must not leave too early. Schedule that doubles a message: a statement that
// reads the table takes its snapshot. The row's mark commits. The row leaves. The
// statement's result arrives with the row, still unsent in that snapshot, and the row
// is published again. So after its outcome is committed, a row lingers until the loop
// has processed the result of the statement that was running then. The next statement
// has a snapshot of its own, which sees the commit. (testdata/02_lingering.txt)
//
// Rows are known by (id, message id): after TRUNCATE … RESTART IDENTITY the same
// id is another row, which must not be mistaken for the one in flight.
type inFlight struct {
	// rows holds the message, or nil for a row that lingers.
	rows      map[relay.Ref]*item
	lingering []relay.Ref
	reading   bool // a statement that may bring rows is running
}

func newInFlight() *inFlight { return &inFlight{rows: make(map[relay.Ref]*item)} }

func (f *inFlight) has(r relay.Ref) bool {
	_, ok := f.rows[r]
	return ok
}

func (f *inFlight) add(m *item) { f.rows[m.Ref] = m }

// returned removes a row that returns to the table unpublished, so that the next pass
// or survey brings it again.
func (f *inFlight) returned(r relay.Ref) { delete(f.rows, r) }

// settle removes a row whose outcome is committed, as soon as no running
// statement can bring it as it was before. It returns the row's message, nil if
// it is not in flight.
func (f *inFlight) settle(r relay.Ref) *item {
	m := f.rows[r]
	switch {
	case m == nil:
	case f.reading:
		f.rows[r] = nil
		f.lingering = append(f.lingering, r)
	default:
		delete(f.rows, r)
	}
	return m
}

// statementBegins is called before a statement that may bring rows is sent.
func (f *inFlight) statementBegins() { f.reading = true }

// statementEnded is called once the loop has processed the statement's rows.
func (f *inFlight) statementEnded() {
	f.reading = false
	for _, r := range f.lingering {
		delete(f.rows, r)
	}
	f.lingering = f.lingering[:0]
}

// valid checks that rows that linger are settled, and that there are such rows only
// while a statement is running.
func (f *inFlight) valid() bool {
	for _, r := range f.lingering {
		if m, known := f.rows[r]; !known || m != nil {
			return false
		}
	}
	return f.reading || len(f.lingering) == 0
}
