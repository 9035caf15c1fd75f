package oracle

import (
	"cmp"
	"slices"
)

// Judge compares what was committed with what was received and with what the
// table says at the end, when the relay claims to be done. It does no I/O and
// needs nothing in any order. Without findings every clause held.
func Judge(committed []Written, received []Delivery, table Table, limits Limits) []Finding {
	t := newTrial(committed, received, limits)
	var findings []Finding
	findings = append(findings, t.strangers()...)
	findings = append(findings, t.altered()...)
	findings = append(findings, t.order(table)...)
	findings = append(findings, t.redeliveries()...)
	for _, row := range committed {
		findings = append(findings, t.fate(row, table)...)
	}
	return findings
}

// trial is the evidence, indexed.
type trial struct {
	limits   Limits
	rows     map[string]Written  // by message id
	contents map[Digest]Written  // rows are unique in content, so a copy betrays itself
	first    map[string]Delivery // first delivery by message id
	times    map[string]int
	received []Delivery // in stream order
}

func newTrial(committed []Written, received []Delivery, limits Limits) *trial {
	t := &trial{
		limits:   limits,
		rows:     make(map[string]Written, len(committed)),
		contents: make(map[Digest]Written, len(committed)),
		first:    make(map[string]Delivery, len(committed)),
		times:    make(map[string]int, len(committed)),
		received: slices.Clone(received),
	}
	for _, row := range committed {
		t.rows[row.MessageID.String()] = row
		t.contents[row.Digest] = row
	}
	slices.SortFunc(t.received, func(a, b Delivery) int { return cmp.Compare(a.StreamSeq, b.StreamSeq) })
	for _, d := range t.received {
		if _, seen := t.first[d.MessageID]; !seen {
			t.first[d.MessageID] = d
		}
		t.times[d.MessageID]++
	}
	return t
}

// strangers are messages whose id no committed row has.
func (t *trial) strangers() []Finding {
	var findings []Finding
	for _, d := range t.received {
		if _, known := t.rows[d.MessageID]; known {
			continue
		}
		if row, copied := t.contents[d.Digest]; copied {
			findings = append(findings, Reidentified{Row: row, Delivery: d})
			continue
		}
		if d.StreamSeq > t.limits.Forgotten || d.MessageID == "" {
			findings = append(findings, Ghost{Delivery: d})
		}
	}
	return findings
}

// altered compares every delivery, redeliveries too, with its row.
func (t *trial) altered() []Finding {
	var findings []Finding
	for _, d := range t.received {
		if row, known := t.rows[d.MessageID]; known && row.Digest != d.Digest {
			findings = append(findings, Altered{Row: row, Delivery: d})
		}
	}
	return findings
}

// order looks at first deliveries only: a redelivery comes after its successors
// by nature, and the consumer drops it by its id.
func (t *trial) order(table Table) []Finding {
	if t.limits.Unordered {
		return nil
	}
	var findings []Finding
	arrived := map[string][]Written{} // by key
	last := map[string]Written{}
	for _, d := range t.received {
		row, known := t.rows[d.MessageID]
		if !known || !row.Keyed || t.first[d.MessageID].StreamSeq != d.StreamSeq {
			continue
		}
		ahead, found := last[row.Key]
		switch {
		case !found || ahead.Seq < row.Seq:
			last[row.Key] = row
		case !t.mayBeOvertaken(row, table[row.Ref].Attempts, arrived[row.Key]):
			findings = append(findings, Overtaken{Row: row, Delivery: d, By: ahead})
		}
		arrived[row.Key] = append(arrived[row.Key], row)
	}
	return findings
}

// mayBeOvertaken says whether the row's refusals explain how many later ones came before
// it.
func (t *trial) mayBeOvertaken(row Written, refusals int, before []Written) bool {
	later := 0
	for _, b := range before {
		if b.Seq > row.Seq {
			later++
		}
	}
	return later <= refusals*(max(1, t.limits.KeyWindow)-1)
}

func (t *trial) redeliveries() []Finding {
	f := Repeated{Limit: t.limits.Redeliveries}
	for id, times := range t.times {
		if _, known := t.rows[id]; !known {
			continue
		}
		f.Copies += times - 1
		if times > f.Times {
			f.Times, f.Example = times, t.first[id]
		}
	}
	if f.Copies <= f.Limit {
		return nil
	}
	return []Finding{f}
}

// fate checks what became of one row, in the stream and in the table.
func (t *trial) fate(row Written, table Table) []Finding {
	var state *RowState
	if s, exists := table[row.Ref]; exists {
		state = &s
	}
	var arrival *Delivery
	if d, arrived := t.first[row.MessageID.String()]; arrived {
		arrival = &d
	}
	switch row.Expect {
	case Withdrawn:
		return nil
	case Buried:
		if arrival == nil && state != nil && state.Dead {
			return nil
		}
		return []Finding{Spared{Row: row, State: state, Delivery: arrival}}
	case Purged:
		if arrival == nil {
			return []Finding{Lost{Row: row, State: state}}
		}
		return nil
	default:
		return t.delivered(row, state, arrival)
	}
}

// delivered checks a row that had to be published. A row may break several
// clauses at once: a row marked without being sent is lost and nothing else, a
// row lost and left pending is both.
func (t *trial) delivered(row Written, state *RowState, arrival *Delivery) []Finding {
	var findings []Finding
	if arrival == nil {
		findings = append(findings, Lost{Row: row, State: state})
	}
	switch {
	case state == nil && !t.limits.Deletes:
		findings = append(findings, Vanished{Row: row})
	case state == nil:
	case state.Dead:
		findings = append(findings, Killed{Row: row, State: *state})
	case !state.Sent || t.limits.Deletes:
		findings = append(findings, Unsettled{Row: row, State: *state})
	}
	return findings
}
