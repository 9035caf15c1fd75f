package postgres

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Bounds of what counting may cost, however many rows there are.
const (
	// countCap is how many rows of a kind are counted one by one, of those that the index
	// alone counts: scheduled and dead ones.
	countCap = 20_000
	// dueCap is that of rows that are due or wait for a retry, each of which is read. Beyond
	// it, a sample tells how many there are.
	dueCap = 3_000
	// countDeadline ends the counting if the indexes are full of dead entries, or
	// missing.
	countDeadline = 5 * time.Second
)

// Stats counts in one or two short statements, and looks at what the table lacks and at its
// partitions, over a session of its own that is closed at the end. It reads the partial
// indexes, and few of the rows behind them. If more rows are pending, a sample of the ids
// tells how many, to within some percent, so that it takes some milliseconds with millions of
// rows too.
func (d *Database) Stats(ctx context.Context) (relay.TableStats, error) {
	found, err := d.look(ctx, false, true)
	return found.TableStats, err
}

// looked is what [Database.look] found.
type looked struct {
	relay.Census
	trouble partitionTrouble // the kind of what Partitions tells
}

// look counts the rows. If others is set, it looks up the relays too; if table is set, also
// what the table lacks, and its partitions.
func (d *Database) look(ctx context.Context, others, table bool) (looked, error) {
	var found looked
	s, err := d.open(ctx, readSettings)
	if err != nil {
		return found, err
	}
	defer s.close()
	if found.TableStats, err = s.count(ctx); err != nil {
		return found, s.explain("count the rows", err)
	}
	var facts tableFacts
	if table {
		if facts, found.Lacks, err = s.lookUpLacks(ctx); err != nil {
			return found, err
		}
	}
	if others {
		found.Members, found.MembersErr = d.members(ctx, s)
	}
	if table {
		// It comes last, for it may cost the session, and fails nothing: the rows are counted.
		found.trouble, found.Partitions = s.troubleWithPartitions(ctx, facts)
	}
	return found, nil
}

// indexed is how many rows the index of due rows has, and of which kind.
type indexed struct {
	rows, due, refused int64
}

// count judges by PostgreSQL's clock.
func (s *session) count(ctx context.Context) (relay.TableStats, error) {
	limited, cancel := context.WithTimeout(ctx, countDeadline)
	defer cancel()
	statement := files.Statement("stats", newReadBlanks(s.table, payloadKind{}, ""))
	counted, err := sqltext.One[struct {
		Indexed, Due, Refused, Reached, Scheduled, Dead int64
		Lowest, Highest                                 int64 // ids
		Oldest                                          int64 // age in microseconds
	}](limited, sqltext.On(s.conn), statement, sqltext.Args{"most": int64(countCap + 1), "read": int64(dueCap + 1)})
	if err != nil {
		return relay.TableStats{}, err
	}
	found := indexed{rows: counted.Indexed, due: counted.Due, refused: counted.Refused}
	estimated := found.rows > dueCap
	if estimated {
		if found, err = s.estimate(ctx, found, counted.Lowest, counted.Highest); err != nil {
			return relay.TableStats{}, err
		}
	}
	return relay.TableStats{
		Due:       relay.Count{Rows: found.due + min(counted.Reached, dueCap), Estimated: estimated, More: counted.Reached > dueCap},
		Retrying:  relay.Count{Rows: found.refused, Estimated: estimated},
		Scheduled: capped(counted.Scheduled), Dead: capped(counted.Dead),
		OldestAge: max(0, time.Duration(counted.Oldest)*time.Microsecond),
	}, nil
}

// capped is a count that was ended after countCap.
func capped(n int64) relay.Count { return relay.Count{Rows: min(n, countCap), More: n > countCap} }

// The sample: so many runs of so many ids.
const (
	sampleRuns  = 200
	sampleWidth = 10
)

// estimate counts a sample of the ids between the lowest and the highest. They are cut
// into equal parts, and a run of ids is counted in each, from a random one on: so it does
// not matter that some parts are dense and others empty.
func (s *session) estimate(ctx context.Context, counted indexed, lowest, highest int64) (indexed, error) {
	// More rows than dueCap have more ids than the runs, but for a partitioned table, in
	// which two rows may have one id.
	// If a row's id is NULL, which a table that others have made may allow, highest is 0.
	part := (uint64(max(lowest, highest)) - uint64(lowest) + 1) / sampleRuns //nolint:gosec // the distance, also where the lowest id is negative
	part = max(part, sampleWidth)
	starts := make([]int64, sampleRuns)
	for i := range starts {
		starts[i] = lowest + int64(uint64(i)*part+rand.Uint64N(part-sampleWidth+1)) //nolint:gosec // at most highest
	}
	var found indexed
	given := args{"starts": int8Array(starts), "width": int8Param(sampleWidth)}
	statement := newStatement("sample", "", newReadBlanks(s.table, payloadKind{}, ""))
	err := s.query(ctx, countDeadline, statement, given, func(c *columns) func([][]byte) {
		rows, due, refused := c.at("indexed"), c.at("due"), c.at("refused")
		return func(row [][]byte) {
			found = indexed{rows: int64Of(row[rows]), due: int64Of(row[due]), refused: int64Of(row[refused])}
		}
	})
	scale := float64(part) / sampleWidth
	grow := func(n, atLeast int64) int64 { return max(atLeast, int64(float64(n)*scale)) }
	return indexed{
		rows: grow(found.rows, counted.rows), due: grow(found.due, counted.due), refused: grow(found.refused, counted.refused),
	}, err
}
