package engine

import "github.com/outbox-relay/outbox-relay/relay"

// takenRows is the one answer to "has this row been taken?". A row is in here from when
// the dispatcher gets it until its outcome is committed, or until it returns. It is not
// taken a second time, whatever brings it.
//
// A row must not leave too early. Schedule that doubles a message: a statement that
// reads the table takes its snapshot. The row's mark commits. The row leaves. The
// statement's result arrives with the row, still unsent in that snapshot, and the row
// is published again. So after its outcome is committed, a row lingers until the loop
// has processed the result of the statement that was running then. The next statement
// has a snapshot of its own, which sees the commit. (testdata/02_lingering.txt)
//
// Rows are known by (id, message id): after TRUNCATE … RESTART IDENTITY the same
// id is another row, which must not be mistaken for the one that was taken.
type takenRows struct {
	// rows holds the message, or nil for a row that lingers.
	rows      map[relay.Ref]*item
	lingering []relay.Ref
	reading   bool // a statement that may bring rows is running
}

func newTakenRows() *takenRows { return &takenRows{rows: make(map[relay.Ref]*item)} }

func (t *takenRows) has(r relay.Ref) bool {
	_, ok := t.rows[r]
	return ok
}

func (t *takenRows) add(m *item) { t.rows[m.Ref] = m }

// returned removes a row that returns to the table unpublished, so that the next pass
// or survey brings it again.
func (t *takenRows) returned(r relay.Ref) { delete(t.rows, r) }

// settle removes a row whose outcome is committed, as soon as no running
// statement can bring it as it was before. It returns the row's message, nil if
// it was not taken.
func (t *takenRows) settle(r relay.Ref) *item {
	m := t.rows[r]
	switch {
	case m == nil:
	case t.reading:
		t.rows[r] = nil
		t.lingering = append(t.lingering, r)
	default:
		delete(t.rows, r)
	}
	return m
}

// statementBegins is called before a statement that may bring rows is sent.
func (t *takenRows) statementBegins() { t.reading = true }

// statementEnded is called once the loop has processed the statement's rows.
func (t *takenRows) statementEnded() {
	t.reading = false
	for _, r := range t.lingering {
		delete(t.rows, r)
	}
	t.lingering = t.lingering[:0]
}

// valid checks that rows that linger are settled, and that there are such rows only
// while a statement is running.
func (t *takenRows) valid() bool {
	for _, r := range t.lingering {
		if m, known := t.rows[r]; !known || m != nil {
			return false
		}
	}
	return t.reading || len(t.lingering) == 0
}
