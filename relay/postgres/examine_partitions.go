package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

var (
	partitionsStatement    = files.Statement("partitions", nil)
	lastPartitionStatement = files.Statement("last_partition", nil)
	lastIDsStatement       = files.Statement("last_ids", nil)
)

// manyPartitions are more than every mark should have to look into.
const manyPartitions = 8

// ahead is for how long there should be partitions.
const ahead = 24 * time.Hour

// partitions is what the catalogs say of them.
type partitions struct {
	Key        string // as in PARTITION BY
	ByTime     bool   // ranges of created_at
	ByID       bool   // ranges of id
	Partitions int64
	CatchAll   *string // quoted
	Filled     bool    // the catch-all has, or had, rows
}

// partitionTrouble is a kind of trouble with the partitions.
type partitionTrouble int

const (
	noTrouble partitionTrouble = iota
	marksAreDear
	catchAllHasRows
	idsEnd
	timeEnds
	notLookedUp
)

// partitionCheck is what doctor says of the partitions, and of which kind it is.
type partitionCheck struct {
	relay.Check
	trouble partitionTrouble
}

// examinePartitions adds a check if the table is divided into partitions.
func (s *session) examinePartitions(ctx context.Context, e *Examination, t tableFacts) {
	check, divided, err := s.checkPartitions(ctx, t)
	if err != nil {
		check.Severity, check.Found, check.Fix = relay.Warning, err.Error(), ""
	}
	if divided || err != nil {
		e.add(check.Check)
	}
}

// troubleWithPartitions is what a running relay tells of them; also why it knows nothing.
func (s *session) troubleWithPartitions(ctx context.Context, t tableFacts) (partitionTrouble, string) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	check, _, err := s.checkPartitions(ctx, t)
	switch {
	case err != nil:
		return notLookedUp, err.Error()
	case check.trouble == noTrouble:
		return noTrouble, ""
	}
	return check.trouble, check.Found
}

func (s *session) checkPartitions(ctx context.Context, t tableFacts) (check partitionCheck, divided bool, err error) {
	check.Check = relay.Check{Name: checkPartitions, Severity: relay.Warning}
	p, err := sqltext.One[partitions](ctx, sqltext.On(s.conn), partitionsStatement, sqltext.Args{"table": t.OID})
	if errors.Is(err, pgx.ErrNoRows) {
		return check, false, nil
	}
	if err == nil {
		err = s.judgePartitions(ctx, t, p, &check)
	}
	if err != nil {
		return check, true, s.explain("look up the partitions", err)
	}
	return check, true, nil
}

func (s *session) judgePartitions(ctx context.Context, t tableFacts, p partitions, check *partitionCheck) error {
	l, err := s.lookUpLayout(ctx)
	if err != nil {
		return err
	}
	if l.others && p.Partitions > manyPartitions {
		check.trouble = marksAreDear
		check.Found = fmt.Sprintf("the table is divided by %s: each mark looks into all %d partitions, "+
			"because only of id and created_at the relay knows a row's values", p.Key, p.Partitions)
		check.Fix = "divide the table by ranges of created_at or of id"
		return nil
	}
	if p.Filled {
		check.trouble = catchAllHasRows
		check.Found = fmt.Sprintf("the catch-all partition %s has rows: PostgreSQL makes no partition for them before they are moved", *p.CatchAll)
		check.Fix = fmt.Sprintf("move these rows to partitions of their own, then run TRUNCATE %s;  -- and have partitions made ahead", *p.CatchAll)
		return nil
	}
	if p.ByID {
		if end, err := s.judgeLastIDs(ctx, t, p, check); end || err != nil {
			return err
		}
	}
	if p.ByTime {
		last, err := sqltext.One[lastPartition](ctx, sqltext.On(s.conn), lastPartitionStatement, sqltext.Args{"table": t.OID})
		if err == nil && last.Ends != nil && last.Ends.Before(last.Now.Add(ahead)) {
			later := "are refused"
			if p.CatchAll != nil {
				later = "go to the catch-all partition " + *p.CatchAll
			}
			check.trouble = timeEnds
			check.Found = fmt.Sprintf("the last partition ends at %s: rows created later %s", last.Ends.UTC().Format(time.RFC3339), later)
			check.Fix = s.nextPartition(last)
			return nil
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
	}
	check.Severity, check.Found = relay.Fine, fmt.Sprintf("%d, by %s", p.Partitions, p.Key)
	return nil
}

type lastPartition struct {
	Begins, Ends *time.Time
	Now          time.Time
}

// nextPartition makes one after the last one: as long, or longer if that has ended long
// ago.
func (s *session) nextPartition(last lastPartition) string {
	length := ahead
	if last.Begins != nil && last.Ends.Sub(*last.Begins) > time.Hour {
		length = last.Ends.Sub(*last.Begins)
	}
	end := *last.Ends
	for end.Before(last.Now.Add(ahead)) {
		end = end.Add(length)
	}
	name := cut(s.table.Name, maxName-len("_20060102_1504")) + last.Ends.UTC().Format("_20060102_1504")
	const instant = "2006-01-02 15:04:05.999999-07:00"
	return fmt.Sprintf("CREATE TABLE %s.%s PARTITION OF %s FOR VALUES FROM ('%s') TO ('%s');  -- and have them made ahead from now on",
		sqltext.Identifier(s.table.Schema), sqltext.Identifier(name), s.table.Quoted(), last.Ends.UTC().Format(instant), end.UTC().Format(instant))
}

// judgeLastIDs says whether the ids come to an end: nine in ten of the last partition are used.
func (s *session) judgeLastIDs(ctx context.Context, t tableFacts, p partitions, check *partitionCheck) (end bool, err error) {
	on := sqltext.On(s.conn)
	last, err := sqltext.One[struct{ Begins, Ends *int64 }](ctx, on, lastIDsStatement, sqltext.Args{"table": t.OID})
	if errors.Is(err, pgx.ErrNoRows) || err == nil && last.Ends == nil {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	statement := files.Statement("newest_id", newReadBlanks(s.table, payloadKind{}, ""))
	newest, err := sqltext.One[struct{ ID *int64 }](ctx, on, statement, sqltext.Args{"table": s.table.Quoted()})
	if err != nil || newest.ID == nil {
		return false, err
	}
	var begins int64
	if last.Begins != nil {
		begins = *last.Begins
	}
	length := *last.Ends - begins
	if length <= 0 || *newest.ID < *last.Ends-length/10 {
		return false, nil
	}
	later := "are refused"
	if p.CatchAll != nil {
		later = "go to the catch-all partition " + *p.CatchAll
	}
	check.trouble = idsEnd
	check.Found = fmt.Sprintf("the last partition ends at id %d, and the newest id is %d: rows with later ids %s", *last.Ends, *newest.ID, later)
	name := cut(s.table.Name, maxName-21) + fmt.Sprintf("_%d", *last.Ends)
	check.Fix = fmt.Sprintf("CREATE TABLE %s.%s PARTITION OF %s FOR VALUES FROM (%d) TO (%d);  -- and have them made ahead from now on",
		sqltext.Identifier(s.table.Schema), sqltext.Identifier(name), s.table.Quoted(), *last.Ends, *last.Ends+length)
	return true, nil
}
