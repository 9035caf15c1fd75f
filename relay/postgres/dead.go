package postgres

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

// filterArgs are the filter's parameters.
func filterArgs(f relay.DeadFilter) args {
	given := args{
		"topic": textParam(likePattern(f.Topic)), "key": nil, "error": textParam(f.Error), "type": textParam(f.Type),
		"since": timeParam(f.Since), "until": timeParam(f.Until),
	}
	if f.Key != nil {
		given["key"] = []byte(*f.Key)
	}
	if f.IDs != nil {
		given["ids"] = int8Array(slices.Compact(slices.Sorted(slices.Values(f.IDs))))
	}
	return given
}

// textParam is NULL for the empty text.
func textParam(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

// timeParam is NULL for the zero time.
func timeParam(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	return instantParam(t)
}

// DeadLetters is a session that works on dead rows, beside any number of relays. One
// goroutine at a time uses it; the caller closes it.
type DeadLetters struct {
	*session
	channel string
	// byID has the same statements for filters with ids.
	all, byID deadStatements
	show      statement
	now       time.Time
}

type deadStatements struct{ list, summary, replay, discard statement }

// deadBlanks fill in the files of these statements.
type deadBlanks struct {
	Table, Dead         string
	ByID                bool
	ErrorType           bool // the table has the column
	DeadLetter          bool // and this one
	Bytes               bool // the payload is a bytea
	MaxText, MaxPayload int  // characters that a person gets to read
}

// What is read of a row at most.
const (
	maxDeadText    = 8 << 10
	maxDeadPayload = 1 << 20
)

func newDeadStatements(blanks deadBlanks) deadStatements {
	variant := ""
	if blanks.ByID {
		variant = "_by_id"
	}
	return deadStatements{
		list:    newStatement("dead_list", variant, blanks),
		summary: newStatement("dead_summary", variant, blanks),
		replay:  newStatement("dead_replay", variant, blanks),
		discard: newStatement("dead_discard", variant, blanks),
	}
}

// OpenDead opens a session for dead rows, and checks that it may do what is asked for.
// An error that a person has to fix wraps [relay.ErrSetup].
func (d *Database) OpenDead(ctx context.Context, access relay.DeadAccess) (*DeadLetters, error) {
	s, err := d.open(ctx, readSettings)
	if err != nil {
		return nil, err
	}
	dead, err := d.newDeadLetters(ctx, s, access)
	if err != nil {
		s.close()
		return nil, err
	}
	return dead, nil
}

func (d *Database) newDeadLetters(ctx context.Context, s *session, access relay.DeadAccess) (*DeadLetters, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	if access != relay.ReadDead {
		if err := s.checkWritable(ctx); err != nil {
			return nil, err
		}
	}
	t, columns, err := s.lookUpShape(ctx)
	if err != nil {
		return nil, err
	}
	for _, check := range []func() error{
		func() error { return s.checkDeadGrants(t, columns, access) },
		func() error { return checkRowSecurity(s.table, t) },
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	dead := &DeadLetters{session: s, channel: d.options.Table.WakeChannel()}
	if err := s.conn.QueryRow(ctx, `SELECT statement_timestamp()`).Scan(&dead.now); err != nil {
		return nil, s.explain("look up the time", err)
	}
	blanks := newDeadBlanks(s.table, columns)
	dead.show = newStatement("dead_show", "", blanks)
	dead.all = newDeadStatements(blanks)
	blanks.ByID = true
	dead.byID = newDeadStatements(blanks)
	return dead, nil
}

// newDeadBlanks: a row of another session's version may lack the columns that came later.
func newDeadBlanks(table schema.Table, columns []column) deadBlanks {
	blanks := deadBlanks{Table: table.Quoted(), Dead: schema.Dead, MaxText: maxDeadText, MaxPayload: maxDeadPayload}
	for _, c := range columns {
		switch c.name {
		case "error_type":
			blanks.ErrorType = c.exists
		case "dead_letter_at":
			blanks.DeadLetter = c.exists
		case "payload":
			blanks.Bytes = c.is.Type == "bytea"
		}
	}
	return blanks
}

// checkDeadGrants names the statements that give the role what it lacks.
func (s *session) checkDeadGrants(t tableFacts, columns []column, access relay.DeadAccess) error {
	needs := map[relay.DeadAccess][]string{
		relay.ReplayDead:  {"available_at", "attempts", "first_attempt_at", "dead_at"},
		relay.DiscardDead: {"dead_at"}, // without it the row cannot be locked
	}[access]
	unreadable := false
	var updates []string
	for _, c := range columns {
		unreadable = unreadable || c.exists && !c.is.CanSelect
		if slices.Contains(needs, c.name) && !c.is.CanUpdate {
			updates = append(updates, c.name)
		}
	}
	t.NoteHidden = false // that is the relay's to read
	return s.lacking(t, unreadable, updates, access == relay.DiscardDead)
}

// Now is when the session began, by PostgreSQL's clock.
func (d *DeadLetters) Now() time.Time { return d.now }

// Close ends the session.
func (d *DeadLetters) Close() { d.close() }

func (d *DeadLetters) statements(f relay.DeadFilter) deadStatements {
	if f.IDs != nil {
		return d.byID
	}
	return d.all
}

// pageArgs are the page's parameters.
func pageArgs(p relay.DeadPage, channel string) args {
	given := filterArgs(p.Filter)
	given["after"], given["rows"], given["most"] = int8Param(p.After), int8Param(int64(p.Rows)), int8Param(int64(p.Most))
	given["channel"] = []byte(channel)
	return given
}

// Replay has the rows of a page sent again: they are pending, as if they had never been
// tried. It wakes the relay. All of the page is replayed, or nothing.
func (d *DeadLetters) Replay(ctx context.Context, p relay.DeadPage) (relay.DeadDone, error) {
	return d.change(ctx, "replay dead rows", d.statements(p.Filter).replay, p)
}

// Discard deletes the rows of a page: all of them, or nothing.
func (d *DeadLetters) Discard(ctx context.Context, p relay.DeadPage) (relay.DeadDone, error) {
	return d.change(ctx, "discard dead rows", d.statements(p.Filter).discard, p)
}

func (d *DeadLetters) change(ctx context.Context, doing string, st statement, p relay.DeadPage) (relay.DeadDone, error) {
	done := relay.DeadDone{Cursor: p.After}
	err := d.query(ctx, readDeadline, st, pageArgs(p, d.channel), func(c *columns) func([][]byte) {
		examined, cursor, wanted, changed := c.at("examined"), c.at("cursor"), c.at("wanted"), c.at("changed")
		return func(row [][]byte) {
			done.End = int64Of(row[examined]) < int64(p.Rows)
			if row[cursor] != nil {
				done.Cursor = int64Of(row[cursor])
			}
			done.Matched, done.Changed = int64Of(row[wanted]), int64Of(row[changed])
		}
	})
	if err != nil {
		return relay.DeadDone{}, d.explain(doing, err)
	}
	return done, nil
}

// likePattern is the pattern of LIKE that means what a glob does: * is any text, ? any
// one character.
func likePattern(glob string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`).Replace(glob)
}
