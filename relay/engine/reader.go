package engine

// statement is what the loop can ask of the session that reads the table.
type statement uint8

const (
	noStatement statement = iota
	noteFrame             // what the table has while the broker is down
	beginPass             // the beginning of a pass
	readChunk             // a chunk of a pass
	refillKey             // rows of one parked key
	readExpired           // rows that may have waited for the broker for too long
	refillTail            // rows of one parked key, for the tail, as all statements below
	readSurvey
	readSnapshot
	inspectTail
)

var statementNames = [...]string{"none", "frame", "begin pass", "chunk", "refill", "expired rows", "refill beside the log", "survey", "snapshot", "inspection"}

// String returns the statement in lower case.
func (s statement) String() string { return statementNames[s] }

// ofTail says whether the tail asked for it, and not a pass.
func (s statement) ofTail() bool { return s >= refillTail }

// ofExpiry says whether it is about rows that wait for the broker.
func (s statement) ofExpiry() bool { return s == noteFrame || s == readExpired }

// bringsRows says whether the answer may have rows, as they were when the statement
// began.
func (s statement) bringsRows() bool { return s >= beginPass && s <= readSurvey }

// readsRows says whether the statement looks for rows. Such statements may fail while
// the others succeed.
func (s statement) readsRows() bool { return s >= readChunk && s <= readSurvey }

// reader is the loop's side of the session that reads the table. It asks for one
// statement after the other and knows which one is out. Passes and the tail share the
// session, and so share the reader.
type reader struct {
	session  *readSession
	taken    *takenRows
	out      statement
	failures int   // how many in a row since rows were last read
	err      error // the last one
}

// busy says whether a statement is out.
func (r *reader) busy() bool { return r.out != noStatement }

// ask sends a request. The caller has seen that the reader is not busy.
func (r *reader) ask(req readRequest) {
	r.out = req.kind
	if req.kind.bringsRows() {
		r.taken.statementBegins()
	}
	r.session.ask(req)
}

// answered notes that the statement has ended, with an error or not. Its rows are not
// processed yet.
func (r *reader) answered(err error) {
	kind := r.out
	r.out = noStatement
	switch {
	case err != nil:
		r.failures++
		r.err = err
	case kind.readsRows():
		r.failures, r.err = 0, nil
	}
}

// takenIn notes that the rows of the answer have been processed.
func (r *reader) takenIn() { r.taken.statementEnded() }
