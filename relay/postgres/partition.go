package postgres

import (
	"context"
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// layout is how the table is divided into partitions. A statement that names a row by
// its id alone looks it up in each of them, which with a hundred partitions makes a mark
// fifty times as dear. So it also names what the partitions are made by.
//
// A layout is learnt when a session begins. If the table is replaced by one with another
// layout, the statements are as right as before, but may be slower.
type layout struct {
	partitioned bool
	// byTime says that created_at belongs to the partition key.
	byTime bool
	// others says that columns, or expressions, belong to the key of which a statement
	// over a batch knows nothing. It looks into each partition.
	others bool
}

// pruning is how a statement keeps the server from looking into each partition. See
// in_partition in parts.sql.
type pruning struct {
	ByTime  bool // created_at is compared
	Bounded bool // ids, and created_at, are within those of the batch
}

// forPlan prunes while the statement is planned, and so fits one that is planned each
// time.
func (l layout) forPlan() pruning { return pruning{ByTime: l.byTime, Bounded: l.partitioned} }

// forRow prunes while the statement is executed.
func (l layout) forRow() pruning { return pruning{ByTime: l.byTime} }

var partitionKeyStatement = files.Statement("partition_key", nil)

// lookUpLayout learns how the table is divided.
func (s *session) lookUpLayout(ctx context.Context) (layout, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	key, err := sqltext.Column[*string](ctx, sqltext.On(s.conn), partitionKeyStatement, sqltext.Args{"table": s.table.Quoted()})
	if err != nil {
		return layout{}, s.explain("look up the partition key", err)
	}
	l := layout{partitioned: len(key) > 0}
	for _, column := range key {
		switch {
		case column != nil && *column == "id":
		case column != nil && *column == "created_at":
			l.byTime = true
		default:
			l.others = true
		}
	}
	return l, nil
}

// planOnce has the statements of a session planned once, and not at each run: planning
// takes as long as there are partitions, 10 ms for a hundred.
func (s *session) planOnce(ctx context.Context, l layout) error {
	mode := "force_custom_plan"
	if l.partitioned {
		mode = "force_generic_plan"
	}
	if err := s.pg.Exec(ctx, "SET plan_cache_mode = "+mode).Close(); err != nil {
		return s.explain("choose when statements are planned", err)
	}
	return nil
}

// addLocation adds the parameters of the batch by which its rows' partitions are found. A
// row whose created_at is not known is in none of these.
func (a args) addLocation(n int, id func(int) int64, createdAt func(int) time.Time) {
	times := newArray(oidTimestamptz, n, 8)
	lowest, highest := int64(math.MaxInt64), int64(math.MinInt64)
	earliest, latest := lowest, highest
	for i := range n {
		lowest, highest = min(lowest, id(i)), max(highest, id(i))
		t := createdAt(i)
		if t.IsZero() {
			times.int8(math.MinInt64) // -infinity
			continue
		}
		at := microseconds(t)
		times.int8(at)
		earliest, latest = min(earliest, at), max(latest, at)
	}
	a["times"] = times.buf
	a["lowest"], a["highest"] = int8Param(lowest), int8Param(highest)
	a["earliest"], a["latest"] = int8Param(earliest), int8Param(latest)
}
