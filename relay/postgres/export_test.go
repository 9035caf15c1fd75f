package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
)

func explainInto(ctx context.Context, plans map[string]string) func(*session, statement, args) error {
	return func(on *session, st statement, given args) error {
		params, err := st.order(given)
		if err != nil {
			return err
		}
		result := on.pg.ExecParams(ctx, "EXPLAIN (FORMAT JSON) "+st.sql, params, nil, binaryFormat, nil)
		for result.NextRow() {
			plans[st.name] += string(result.Values()[0])
		}
		if _, err := result.Close(); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		return nil
	}
}

// ExplainDead is [Explain] for the statements about dead rows.
func ExplainDead(ctx context.Context, d *DeadLetters) (map[string]string, error) {
	plans := make(map[string]string)
	for _, ids := range [][]int64{nil, make([]int64, 100)} {
		p := relay.DeadPage{Filter: relay.DeadFilter{Topic: "x*", IDs: ids}, Rows: 1000, Most: 1000}
		of := d.statements(p.Filter)
		for _, st := range []statement{of.list, of.summary, of.replay} {
			if err := explainInto(ctx, plans)(d.session, st, pageArgs(p, "c")); err != nil {
				return nil, err
			}
		}
	}
	return plans, explainInto(ctx, plans)(d.session, d.show, filterArgs(relay.DeadFilter{IDs: []int64{1}}))
}

// Explain returns the plans, as JSON, of all statements of a leader's sessions that
// touch rows, by the statements' names: with the parameters of a pass in the middle
// of a table, on the sessions that the relay runs them on.
func Explain(ctx context.Context, leader relay.Control, reading relay.Reader) (map[string]string, error) {
	c, s := leader.(*control), reading.(*readSession)
	plans := make(map[string]string)
	explain := explainInto(ctx, plans)
	if s.layout.partitioned { // its statements are planned without their parameters
		explain = func(on *session, st statement, given args) error {
			text, err := on.explainPrepared(ctx, "FORMAT JSON", st, nil)
			plans[st.name] = text
			return err
		}
	}
	refs := make([]relay.Ref, 2000)
	batch := batchArgs(len(refs), func(i int) relay.Ref { return refs[i] })
	texts := make([]string, len(refs))
	ints := int8Array(make([]int64, len(refs)))
	finals := newArray(oidBool, len(refs), 1)
	for range refs {
		finals.bool(false)
	}
	batch["notes"], batch["reasons"], batch["types"] = textArray(texts), textArray(texts), textArray(texts)
	batch["delays"], batch["finals"], batch["attempted"] = ints, finals.buf, finals.buf
	batch["limit"], batch["age"], batch["before"] = int8Param(1), int8Param(1), ints
	batch["start"], batch["longest"], batch["bytes"] = instantParam(time.Now()), int8Param(1<<20), int8Param(1<<20)
	batch["lowest"], batch["highest"] = int8Param(5000), int8Param(7000)
	for _, st := range []statement{
		c.writes.markRange, c.writes.mark.plain, c.writes.mark.patient, c.writes.refuse.plain, c.writes.refuse.patient, c.writes.unmarked.plain,
	} {
		if err := explain(c.session, st, batch); err != nil {
			return nil, err
		}
	}
	batch["most"], batch["read"] = int8Param(1000), int8Param(1000)
	for _, st := range []statement{s.statements.begin, s.statements.frame, s.statements.scheduled, s.statements.fetch} {
		if err := explain(s.session, st, batch); err != nil {
			return nil, err
		}
	}
	batch["starts"], batch["width"] = ints, int8Param(sampleWidth)
	for _, file := range []string{"stats", "sample"} {
		if err := explain(s.session, newStatement(file, "", newReadBlanks(s.table, payloadKind{}, "")), batch); err != nil {
			return nil, err
		}
	}
	key := "k"
	for _, scheduled := range [][]int64{nil, make([]int64, 1000)} {
		for _, req := range []relay.ChunkRequest{
			{},
			{ExcludeKeys: texts},
			{OnlyKey: &key},
			{TopicRows: map[string]int{"t": 0}},
			{TopicRows: map[string]int{"t": 0}, ExcludeKeys: texts},
		} {
			req.Pass = relay.Pass{Bound: 1 << 40, Start: time.Now(), Scheduled: scheduled}
			req.After = -1
			kind, given, _ := scanArgs(req, 1000)
			statements := []statement{s.statements.scan[kind]}
			if kind.keys == anyKey && !kind.topics {
				statements = append(statements, s.statements.name[kind.scheduled])
			}
			if kind.keys == onlyKey {
				kind.near = true
				statements = append(statements, s.statements.scan[kind])
			}
			for _, st := range statements {
				if err := explain(s.session, st, given); err != nil {
					return nil, err
				}
			}
		}
	}
	return plans, nil
}

// explainPrepared returns the plan of a statement as a session prepares it, planned once or
// each time. A parameter that is not given is NULL.
func (s *session) explainPrepared(ctx context.Context, options string, st statement, given map[string]int64) (string, error) {
	defer func() { _, _ = s.conn.Exec(ctx, "DEALLOCATE explained") }()
	if _, err := s.conn.Exec(ctx, "PREPARE explained AS "+st.sql); err != nil {
		return "", fmt.Errorf("%s: %w", st.name, err)
	}
	call := "EXPLAIN (" + options + ") EXECUTE explained"
	if len(st.params) > 0 {
		values := make([]string, len(st.params))
		for i, p := range st.params {
			values[i] = "NULL"
			if n, ok := given[p]; ok {
				values[i] = fmt.Sprintf("'%d'", n)
			}
		}
		call += "(" + strings.Join(values, ", ") + ")"
	}
	rows, _ := s.conn.Query(ctx, call, pgx.QueryExecModeSimpleProtocol)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", fmt.Errorf("%s: %w", st.name, err)
	}
	return strings.Join(lines, "\n"), nil
}

// ExplainWrites runs the writes of a batch, takes them back, and returns their plans.
func ExplainWrites(ctx context.Context, leader relay.Control, marks []relay.Mark) (map[string]string, error) {
	c := leader.(*control)
	refusals := make([]relay.Refusal, len(marks))
	for i, m := range marks {
		refusals[i] = relay.Refusal{Ref: m.Ref, CreatedAt: m.CreatedAt}
	}
	given := c.refuseArgs(relay.AttemptLimit{Attempts: 10}, refusals)
	maps.Copy(given, c.markArgs(marks))
	plans := make(map[string]string)
	for _, st := range []statement{
		c.writes.mark.plain, c.writes.mark.patient, c.writes.refuse.plain, c.writes.refuse.patient, c.writes.markRange,
	} {
		given := given
		if st.name == c.writes.markRange.name {
			var near bool
			if given, near = c.rangeArgs(marks); !near {
				continue
			}
		}
		params, err := st.order(given)
		if err != nil {
			return nil, err
		}
		if err := c.pg.Exec(ctx, "BEGIN").Close(); err != nil {
			return nil, err
		}
		result := c.pg.ExecParams(ctx, "EXPLAIN (ANALYZE, FORMAT JSON) "+st.sql, params, nil, binaryFormat, nil)
		for result.NextRow() {
			plans[st.name] += string(result.Values()[0])
		}
		_, err = result.Close()
		if err := errors.Join(err, c.pg.Exec(ctx, "ROLLBACK").Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", st.name, err)
		}
	}
	return plans, nil
}

// TakeAt has a census count the table as at a time.
func TakeAt(ctx context.Context, c *Census, now time.Time) error {
	c.take(ctx, now)
	return c.Latest().Err
}

// Listens says whether the session hears of replays.
func Listens(r relay.Reader) bool { return r.(*readSession).wake.on }

// ListensForLock says whether the session of a standby hears of hand-overs.
func ListensForLock(c relay.Control) bool { return c.(*control).handover.on }

// SetSilence sets after what silence the server ends a control session, and returns after
// what silence it would have ended it.
func SetSilence(ctx context.Context, c relay.Control, limit string) (former string, err error) {
	conn := c.(*control).conn
	if err := conn.QueryRow(ctx, "SHOW idle_session_timeout").Scan(&former); err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, "SET idle_session_timeout = '"+limit+"'")
	return former, err
}

// ExplainPurge is the plan of a purge's step.
func ExplainPurge(ctx context.Context, purging relay.Purger) (string, error) {
	p := purging.(*purger)
	return p.explainPrepared(ctx, "FORMAT TEXT", p.statement, map[string]int64{"from": 1, "rows": 2000, "age": 1})
}

// AnalyzePurge runs a step over all rows, takes it back, and returns its plan as JSON.
func AnalyzePurge(ctx context.Context, purging relay.Purger, age time.Duration) (string, error) {
	p := purging.(*purger)
	if err := p.pg.Exec(ctx, "BEGIN").Close(); err != nil {
		return "", err
	}
	given := map[string]int64{"from": math.MinInt64, "rows": 2000, "age": age.Microseconds()}
	plan, err := p.explainPrepared(ctx, "ANALYZE, FORMAT JSON", p.statement, given)
	return plan, errors.Join(err, p.pg.Exec(ctx, "ROLLBACK").Close())
}

// UsedSince says whether a transaction pooler is recognised by another client if the first
// client's connection was used, or not, since that client asked.
func UsedSince(ctx context.Context, first, other *pgx.Conn, use func() error) (bool, error) {
	owned, err := askRoute(ctx, first.PgConn())
	if err != nil {
		return false, err
	}
	if err := use(); err != nil {
		return false, err
	}
	shared, err := takesFrom(ctx, other.PgConn(), owned)
	return shared, errors.Join(err, other.PgConn().Exec(ctx, "ROLLBACK").Close())
}
