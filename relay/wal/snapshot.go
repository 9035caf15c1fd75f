package wal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot says which transactions had ended when it was taken: what
// pg_current_snapshot() returns. It lists transactions, not savepoints, which is
// what the Begin of a decoded transaction carries. The zero value sees nothing.
type Snapshot struct {
	// Every transaction before xmin has ended. None from xmax on has; xmin ≤ xmax.
	xmin, xmax FullXID
	// running are those in between that had not ended, ascending, without
	// repeats, xmin ≤ each < xmax. Where there are any, the first need not be xmin:
	// a savepoint's id can hold xmin back.
	running []FullXID
}

// ParseSnapshot reads the text of a pg_snapshot, "xmin:xmax:xip,xip,…".
func ParseSnapshot(s string) (Snapshot, error) {
	malformed := func() (Snapshot, error) {
		return Snapshot{}, fmt.Errorf("parse snapshot %q: it should be xmin:xmax:xip,… of ascending transaction ids", shorten(s))
	}
	low, rest, _ := strings.Cut(s, ":")
	high, list, found := strings.Cut(rest, ":")
	xmin, errMin := strconv.ParseUint(low, 10, 64)
	xmax, errMax := strconv.ParseUint(high, 10, 64)
	if !found || errMin != nil || errMax != nil {
		return malformed()
	}
	snapshot := Snapshot{xmin: FullXID(xmin), xmax: FullXID(xmax)}
	for list != "" {
		var one string
		if one, list, found = strings.Cut(list, ","); found && list == "" {
			return malformed()
		}
		x, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			return malformed()
		}
		snapshot.running = append(snapshot.running, FullXID(x))
	}
	if !snapshot.valid() {
		return malformed()
	}
	return snapshot, nil
}

// IsZero says whether this is the zero value, which sees nothing.
func (s Snapshot) IsZero() bool { return s.xmax == 0 }

// Xmin returns the oldest transaction that had not ended, or the first that had no id
// yet where there was none: all before it are visible.
func (s Snapshot) Xmin() FullXID { return s.xmin }

// String returns the form that [ParseSnapshot] reads.
func (s Snapshot) String() string {
	b := strconv.AppendUint(nil, uint64(s.xmin), 10)
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(s.xmax), 10)
	b = append(b, ':')
	for i, x := range s.running {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(x), 10)
	}
	return string(b)
}

// Visible says whether the transaction had ended when the snapshot was taken, so
// that a statement with this snapshot saw its rows if it committed.
func (s Snapshot) Visible(x FullXID) bool {
	switch {
	case x < s.xmin:
		return true
	case x >= s.xmax:
		return false
	}
	_, runs := slices.BinarySearch(s.running, x)
	return !runs
}

// Sees is [Snapshot.Visible] for the id of a Begin message, which lacks the
// epoch. An id that no transaction can have counts as not seen. That is the safe
// mistake: either the relay already has the row, or it is sent twice. The other mistake
// would lose it.
func (s Snapshot) Sees(x XID) bool {
	full, ok := x.resolve(s.xmax)
	return ok && x >= firstNormalXID && s.Visible(full)
}

// FirstEnded is a lower bound of what ended between s and later: every such
// transaction, and each of its savepoints, has this id or a larger one.
func (s Snapshot) FirstEnded(later Snapshot) FullXID {
	for _, x := range s.running {
		if later.Visible(x) {
			return x
		}
	}
	return s.xmax
}

// Precedes says whether x, the id of a transaction or of a savepoint, is certainly
// older than all transactions that were running when the snapshot was taken; false if
// that is not certain.
func (s Snapshot) Precedes(x XID) bool {
	full, ok := x.resolve(s.xmax)
	return ok && full < s.xmin
}

// Within says whether x, the id of a transaction or of a savepoint, is at least first
// and was in use when the snapshot was taken. The id of a row that was frozen long ago
// means nothing, and is within only by chance.
func (s Snapshot) Within(x XID, first FullXID) bool {
	full, ok := x.resolve(s.xmax)
	return ok && x >= firstNormalXID && full >= first && full < s.xmax
}

// valid checks what is written at the fields.
func (s Snapshot) valid() bool {
	if s.xmin > s.xmax {
		return false
	}
	for i, x := range s.running {
		if x < s.xmin || x >= s.xmax || i > 0 && x <= s.running[i-1] {
			return false
		}
	}
	return true
}

// maxShown bounds a value in an error, in bytes.
const maxShown = 100

func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return s[:maxShown] + "…"
}
