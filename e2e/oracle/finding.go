package oracle

import (
	"fmt"
	"slices"
	"strings"
)

// Clause names one promise of the relay.
type Clause string

// The clauses. [Clauses] lists them all.
const (
	ClauseReceived   Clause = "committed rows are received"
	ClauseCommitted  Clause = "received messages were committed"
	ClauseIdentity   Clause = "a message keeps its id"
	ClauseContent    Clause = "topic, key, headers and payload arrive unchanged"
	ClauseOrder      Clause = "first deliveries of a key are in sequence"
	ClauseRedelivery Clause = "redeliveries are bounded by what was in flight"
	ClauseSettled    Clause = "sent rows are marked, or deleted where told so"
	ClauseKept       Clause = "rows stay in the table unless told to delete"
	ClauseAlive      Clause = "only rows that cannot be published are dead"
	ClauseBuried     Clause = "rows that cannot be published are dead and unpublished"
)

// Clauses are all promises that [Judge] checks.
func Clauses() []Clause {
	return []Clause{
		ClauseReceived, ClauseCommitted, ClauseIdentity, ClauseContent, ClauseOrder,
		ClauseRedelivery, ClauseSettled, ClauseKept, ClauseAlive, ClauseBuried,
	}
}

// Finding is one promise broken for one row, message or key. Its concrete type
// holds the evidence.
type Finding interface {
	Clause() Clause
	String() string
}

// Lost is a committed row that never arrived.
type Lost struct {
	Row Written
	// State is the row in the table, nil if it is gone.
	State *RowState
}

// Ghost is a message that no committed row explains.
type Ghost struct{ Delivery Delivery }

// Reidentified is a copy of a row under an id that is not the row's.
type Reidentified struct {
	Row      Written
	Delivery Delivery
}

// Altered is a message that differs from its row.
type Altered struct {
	Row      Written
	Delivery Delivery
}

// Overtaken is a row whose first delivery came after that of a later one.
type Overtaken struct {
	Row      Written
	Delivery Delivery
	By       Written
}

// Repeated says that there were more copies than the faults explain.
type Repeated struct {
	Copies, Limit int
	// Example is the message delivered most often, Times in all.
	Example Delivery
	Times   int
}

// Unsettled is a row that was left pending, or left in the table where sent rows
// are to be deleted.
type Unsettled struct {
	Row   Written
	State RowState
}

// Vanished is a row that nobody was told to delete.
type Vanished struct{ Row Written }

// Killed is a row given up although it could have been published.
type Killed struct {
	Row   Written
	State RowState
}

// Spared is a row that can never be published and is not dead, or was published.
type Spared struct {
	Row Written
	// State is the row in the table, nil if it is gone.
	State    *RowState
	Delivery *Delivery
}

// Clause implements [Finding].
func (Lost) Clause() Clause { return ClauseReceived }

// Clause implements [Finding].
func (Ghost) Clause() Clause { return ClauseCommitted }

// Clause implements [Finding].
func (Reidentified) Clause() Clause { return ClauseIdentity }

// Clause implements [Finding].
func (Altered) Clause() Clause { return ClauseContent }

// Clause implements [Finding].
func (Overtaken) Clause() Clause { return ClauseOrder }

// Clause implements [Finding].
func (Repeated) Clause() Clause { return ClauseRedelivery }

// Clause implements [Finding].
func (Unsettled) Clause() Clause { return ClauseSettled }

// Clause implements [Finding].
func (Vanished) Clause() Clause { return ClauseKept }

// Clause implements [Finding].
func (Killed) Clause() Clause { return ClauseAlive }

// Clause implements [Finding].
func (Spared) Clause() Clause { return ClauseBuried }

func (f Lost) String() string {
	return fmt.Sprintf("%s was committed and never received; in the table it is %s", f.Row, stateOf(f.State))
}

func (f Ghost) String() string {
	return fmt.Sprintf("%s was received and never committed", f.Delivery)
}

func (f Reidentified) String() string {
	return fmt.Sprintf("%s is a copy of %s under another id", f.Delivery, f.Row)
}

func (f Altered) String() string {
	return fmt.Sprintf("%s has digest %s, its row %s had %s", f.Delivery, f.Delivery.Digest, f.Row, f.Row.Digest)
}

func (f Overtaken) String() string {
	return fmt.Sprintf("%s was first delivered by %s, after the later %s", f.Row, f.Delivery, f.By)
}

func (f Repeated) String() string {
	return fmt.Sprintf("%d redeliveries where the faults explain %d; %s came %d times", f.Copies, f.Limit, f.Example, f.Times)
}

func (f Unsettled) String() string { return fmt.Sprintf("%s was left %s", f.Row, stateOf(&f.State)) }

func (f Vanished) String() string { return fmt.Sprintf("%s is gone from the table", f.Row) }

func (f Killed) String() string { return fmt.Sprintf("%s is %s", f.Row, stateOf(&f.State)) }

func (f Spared) String() string {
	if f.Delivery != nil {
		return fmt.Sprintf("%s can never be published, and arrived as %s", f.Row, f.Delivery)
	}
	return fmt.Sprintf("%s can never be published, and is %s", f.Row, stateOf(f.State))
}

// String names the row by everything that finds it in the table and the ledger.
func (w Written) String() string {
	if !w.Keyed {
		return fmt.Sprintf("row %d %s without a key", w.ID, w.MessageID)
	}
	return fmt.Sprintf("row %d %s (key %q, number %d)", w.ID, w.MessageID, w.Key, w.Seq)
}

// String names the message by its place in the stream.
func (d Delivery) String() string {
	return fmt.Sprintf("message %d of the stream (id %q)", d.StreamSeq, d.MessageID)
}

func stateOf(s *RowState) string {
	switch {
	case s == nil:
		return "gone"
	case s.Sent:
		return "marked sent"
	case s.Dead:
		return fmt.Sprintf("dead after %d attempts (%s)", s.Attempts, s.LastError)
	default:
		return fmt.Sprintf("pending after %d attempts (%s)", s.Attempts, s.LastError)
	}
}

// Report writes findings for a person: per clause how many, and a few of them.
func Report(findings []Finding) string {
	const examples = 3
	byClause := map[Clause][]Finding{}
	for _, f := range findings {
		byClause[f.Clause()] = append(byClause[f.Clause()], f)
	}
	var b strings.Builder
	for _, clause := range Clauses() {
		broken := byClause[clause]
		if len(broken) == 0 {
			continue
		}
		fmt.Fprintf(&b, "broken: %s: %d findings\n", clause, len(broken))
		for _, f := range broken[:min(examples, len(broken))] {
			fmt.Fprintf(&b, "  %s\n", f)
		}
	}
	return b.String()
}

// Broken lists the clauses that have findings, each once, in the order of [Clauses].
func Broken(findings []Finding) []Clause {
	var broken []Clause
	for _, clause := range Clauses() {
		if slices.ContainsFunc(findings, func(f Finding) bool { return f.Clause() == clause }) {
			broken = append(broken, clause)
		}
	}
	return broken
}
