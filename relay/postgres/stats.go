package postgres

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
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

// Stats counts, in one or two short statements, over a session of its own that is
// closed at the end. It reads the partial indexes, and few of the rows behind them. If
// more rows are pending, a sample of the ids tells how many, to within some percent, so
// that it takes some milliseconds with millions of rows too.
func (d *Database) Stats(ctx context.Context) (relay.TableStats, error) {
	found, err := d.look(ctx, false)
	return found.TableStats, err
}

// looked is what [Database.look] found.
type looked struct {
	relay.Census
	trouble partitionTrouble // the kind of what Partitions tells
}

// look is [Database.Stats], and looks up the relays over the same session if it is to.
func (d *Database) look(ctx context.Context, others bool) (looked, error) {
	var found looked
	s, err := d.open(ctx, readSettings)
	if err != nil {
		return found, err
	}
	defer s.close()
	if found.TableStats, err = s.count(ctx); err != nil {
		return found, s.explain("count the rows", err)
	}
	if found.Lacks, err = s.lacks(ctx); err != nil {
		return found, err
	}
	if others {
		found.Members, found.MembersErr = d.members(ctx, s)
	}
	// It comes last, for it may cost the session, and fails nothing: the rows are counted.
	found.trouble, found.Partitions = s.troubleWithPartitions(ctx)
	return found, nil
}

// indexed is how many rows the index of due rows has, and of which kind.
type indexed struct {
	rows, due, refused int64
	lowest, highest    int64 // ids
}

// count judges by PostgreSQL's clock.
func (s *session) count(ctx context.Context) (relay.TableStats, error) {
	var stats relay.TableStats
	var found indexed
	var reached int64
	given := args{"most": int8Param(countCap + 1), "read": int8Param(dueCap + 1)}
	statement := newStatement("stats", "", newReadBlanks(s.table, payloadKind{}, ""))
	err := s.query(ctx, countDeadline, statement, given, func(c *columns) func([][]byte) {
		read, due, lowest, highest := readIndexed(c), c.at("reached"), c.at("lowest"), c.at("highest")
		scheduled, dead, oldest := c.at("scheduled"), c.at("dead"), c.at("oldest")
		return func(row [][]byte) {
			found, reached = read(row), int64Of(row[due])
			if row[lowest] != nil && row[highest] != nil {
				found.lowest, found.highest = int64Of(row[lowest]), int64Of(row[highest])
			}
			stats = relay.TableStats{
				Scheduled: capped(int64Of(row[scheduled])), Dead: capped(int64Of(row[dead])),
				OldestAge: max(0, time.Duration(int64Of(row[oldest]))*time.Microsecond),
			}
		}
	})
	if err != nil {
		return relay.TableStats{}, err
	}
	estimated := found.rows > dueCap
	if estimated {
		if found, err = s.estimate(ctx, found); err != nil {
			return relay.TableStats{}, err
		}
	}
	stats.Due = relay.Count{Rows: found.due + min(reached, dueCap), Estimated: estimated, More: reached > dueCap}
	stats.Retrying = relay.Count{Rows: found.refused, Estimated: estimated}
	return stats, nil
}

func readIndexed(c *columns) func(row [][]byte) indexed {
	rows, due, refused := c.at("indexed"), c.at("due"), c.at("refused")
	return func(row [][]byte) indexed {
		return indexed{rows: int64Of(row[rows]), due: int64Of(row[due]), refused: int64Of(row[refused])}
	}
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
func (s *session) estimate(ctx context.Context, counted indexed) (indexed, error) {
	// More rows than dueCap have more ids than the runs, but for a partitioned table, in
	// which two rows may have one id.
	part := (uint64(counted.highest) - uint64(counted.lowest) + 1) / sampleRuns //nolint:gosec // the distance, also where the lowest id is negative
	part = max(part, sampleWidth)
	starts := make([]int64, sampleRuns)
	for i := range starts {
		starts[i] = counted.lowest + int64(uint64(i)*part+rand.Uint64N(part-sampleWidth+1)) //nolint:gosec // at most highest
	}
	var found indexed
	given := args{"starts": int8Array(starts), "width": int8Param(sampleWidth)}
	statement := newStatement("sample", "", newReadBlanks(s.table, payloadKind{}, ""))
	err := s.query(ctx, countDeadline, statement, given, func(c *columns) func([][]byte) {
		read := readIndexed(c)
		return func(row [][]byte) { found = read(row) }
	})
	scale := float64(part) / sampleWidth
	grow := func(n, atLeast int64) int64 { return max(atLeast, int64(float64(n)*scale)) }
	return indexed{
		rows: grow(found.rows, counted.rows), due: grow(found.due, counted.due), refused: grow(found.refused, counted.refused),
	}, err
}
