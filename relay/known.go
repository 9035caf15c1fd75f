package relay

// KnownError is an outcome that a sink may give, as its code makes it with made-up names.
// The sinks list theirs; docs/errors.md is printed from these lists.
type KnownError struct {
	// Cause is what has happened at the broker, or what is wrong with the row.
	Cause   string
	Outcome Outcome
	// Test provokes it on the real broker. Those of the conformance suite are
	// TestConformance/name.
	Test string
}

// Counts says whether an attempt is counted against the row.
func (k KnownError) Counts() string {
	switch k.Outcome.Class {
	case Refused:
		return "yes"
	case Rejected:
		return "dead at once"
	case Unknown:
		return "only if the row was alone in flight"
	case Acknowledged, Unavailable, Withdrawn, Postponed:
	}
	return "no"
}
