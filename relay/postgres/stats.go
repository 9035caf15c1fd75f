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
	// OldestAge is since when the row that has been due for longest is due: since
	// the later of created_at and available_at. 0 where none is. Where not all due rows
	// were counted, it is that of the ones with the lowest ids, which are the oldest
	// but for some retries.
	OldestAge time.Duration
}

// Bounds of what counting may cost, however many rows there are.
const (
	// countCap is how many rows of a kind are counted.
	countCap = 100_000
	// countDeadline ends it where the indexes are full of dead entries, or missing.
	countDeadline = 5 * time.Second
)

// Stats counts, in one statement, over a session of its own that is closed at the
// end. It reads the partial indexes and at most countCap rows behind each, so that
// it takes some tenths of a second with millions of rows too.
func (d *Database) Stats(ctx context.Context) (Stats, error) {
	s, err := d.open(ctx, sweepSettings)
	if err != nil {
		return Stats{}, err
	}
	defer s.close()
	return s.count(ctx)
}

// count judges by PostgreSQL's clock. The first branch is the index of what is
// due or is being retried; rows that were scheduled and whose time has come are
// due too, and in the other index.
func (s *session) count(ctx context.Context) (Stats, error) {
	table := s.table.Quoted()
	const dueSince = `greatest(created_at, available_at)`
	sql := fmt.Sprintf(`WITH head AS (
			SELECT `+dueSince+` AS since, attempts > 0 AS refused, available_at IS NULL OR available_at <= statement_timestamp() AS due
			FROM `+table+` WHERE `+isDue+` ORDER BY id LIMIT %[1]d + 1
		), come AS (
			SELECT `+dueSince+` AS since FROM `+table+`
			WHERE `+isScheduled+` AND available_at <= statement_timestamp() ORDER BY available_at LIMIT %[1]d + 1
		), planned AS (
			SELECT FROM `+table+`
			WHERE `+isScheduled+` AND available_at > statement_timestamp() ORDER BY available_at LIMIT %[1]d + 1
		), buried AS (
			SELECT FROM `+table+` WHERE `+isDead+` ORDER BY id LIMIT %[1]d + 1
		)
		SELECT (SELECT count(*) FROM head), (SELECT count(*) FROM head WHERE due), (SELECT count(*) FROM head WHERE refused),
			(SELECT count(*) FROM come), (SELECT count(*) FROM planned), (SELECT count(*) FROM buried),
			coalesce(extract(epoch FROM statement_timestamp() - least(
				(SELECT min(since) FROM head WHERE due), (SELECT min(since) FROM come))), 0)::float8`, countCap)
	ctx, cancel := context.WithTimeout(ctx, countDeadline)
	defer cancel()
	var head, due, refused, come, planned, buried int64
	var oldest float64
	err := s.conn.QueryRow(ctx, sql).Scan(&head, &due, &refused, &come, &planned, &buried, &oldest)
	if err != nil {
		return Stats{}, s.explain("count the rows", err)
	}
	cut := head > countCap
	capped := func(n int64, cut bool) Count { return Count{Rows: min(n, countCap), More: cut || n > countCap} }
	return Stats{
		Due:       capped(due+come, cut),
		Scheduled: capped(planned, false),
		Retrying:  capped(refused, cut),
		Dead:      capped(buried, false),
		OldestAge: max(0, time.Duration(oldest*float64(time.Second))),
	}, nil
}

// isDead is true of dead letters, in the words of their index.
const isDead = `sent_at IS NULL AND dead_at IS NOT NULL`
