package postgres

import (
	"context"
	"fmt"
	"time"
)

// Count is a number of rows.
type Count struct {
	Rows int64
	// More says that there are more than Rows: counting was ended there.
	More bool
}

// String returns the number, with a + where there are more.
func (c Count) String() string {
	if c.More {
		return fmt.Sprintf("%d+", c.Rows)
	}
	return fmt.Sprint(c.Rows)
}

// Stats is how many rows of which kind the table has.
type Stats struct {
	// Due: pending, and may be sent now. Those whose retry has come are among them.
	Due Count
	// Scheduled: pending, not to be sent before a time that has not come, and not
	// tried yet.
	Scheduled Count
	// Retrying: pending, and refused at least once, due or not.
	Retrying Count
	// Dead: given up.
	Dead Count
	// OldestAge is how long the row that is due for longest has been due: since the
	// later of created_at and available_at. 0 if none is due. If not all due rows were
	// counted, only those with the lowest ids are considered, which are the oldest but
	// for some retries.
	OldestAge time.Duration
}

// Bounds of what counting may cost, however many rows there are.
const (
	// countCap is how many rows of a kind are counted.
	countCap = 100_000
	// countDeadline ends the counting if the indexes are full of dead entries, or
	// missing.
	countDeadline = 5 * time.Second
)

// Stats counts, in one statement, over a session of its own that is closed at the
// end. It reads the partial indexes and at most countCap rows behind each, so that
// it takes some tenths of a second with millions of rows too.
func (d *Database) Stats(ctx context.Context) (Stats, error) {
	s, err := d.open(ctx, readSettings)
	if err != nil {
		return Stats{}, err
	}
	defer s.close()
	return s.count(ctx)
}

// count judges by PostgreSQL's clock.
func (s *session) count(ctx context.Context) (Stats, error) {
	var stats Stats
	given := args{"most": int8Param(countCap + 1)}
	statement := newStatement("stats", "", newReadBlanks(s.table, payloadKind{}, ""))
	err := s.query(ctx, countDeadline, statement, given, func(c *columns) func([][]byte) {
		indexed, due, refused, reached := c.at("indexed"), c.at("due"), c.at("refused"), c.at("reached")
		scheduled, dead, oldest := c.at("scheduled"), c.at("dead"), c.at("oldest")
		return func(row [][]byte) {
			cut := int64Of(row[indexed]) > countCap
			count := func(n int64, cut bool) Count { return Count{Rows: min(n, countCap), More: cut || n > countCap} }
			stats = Stats{
				Due:       count(int64Of(row[due])+int64Of(row[reached]), cut),
				Scheduled: count(int64Of(row[scheduled]), false),
				Retrying:  count(int64Of(row[refused]), cut),
				Dead:      count(int64Of(row[dead]), false),
				OldestAge: max(0, time.Duration(int64Of(row[oldest]))*time.Microsecond),
			}
		}
	})
	if err != nil {
		return Stats{}, s.explain("count the rows", err)
	}
	return stats, nil
}
