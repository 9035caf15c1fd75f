package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// noted is what a session knows of the table's note.
type noted struct {
	here schema.Place // where the table is, and the environment of this relay
	// exists: the last look found a note. Without one, a statement that reads it would
	// write an error to the server's log each second.
	exists bool
	last   relay.Note
}

// lookHere looks up where the session is.
func (s *session) lookHere(ctx context.Context, environment string) (noted, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	on := sqltext.On(s.conn)
	system, err := schema.System(ctx, on)
	if err != nil {
		return noted{}, s.explain("look up which server this is", err)
	}
	names, err := sqltext.Column[string](ctx, on, "SELECT current_database()::text", nil)
	if err != nil {
		return noted{}, s.explain("look up which database this is", err)
	}
	return noted{here: schema.Place{System: system, Database: names[0], Environment: environment}}, nil
}

// readNotes is one round trip where the session knows whether there is a note.
func (s *session) readNotes(ctx context.Context, n *noted) ([]schema.Note, error) {
	on := sqltext.On(s.conn)
	if !n.exists {
		var err error
		if n.exists, err = schema.HasNote(ctx, on, s.table); err != nil || !n.exists {
			return nil, err
		}
	}
	notes, err := schema.ReadNotes(ctx, on, s.table)
	switch sqltext.Code(err) {
	case codeUndefinedTable, codeUndefinedColumn: // gone since the last look
		n.exists = false
		return nil, nil
	}
	return notes, err
}

// Note reads what is noted beside the table, and says whether this relay may publish.
// While another session has the note locked, it is as it was.
func (c *control) Note(ctx context.Context) (relay.Note, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatDeadline)
	defer cancel()
	notes, err := c.readNotes(ctx, &c.noted)
	switch {
	case isLocked(err) && c.noted.last != (relay.Note{}):
		return c.noted.last, nil
	case err != nil:
		return relay.Note{}, c.explain("read the note of the table", err)
	}
	note, flawed := judgeNotes(c.table, notes, c.noted.here)
	if flawed != nil && flawed.foreign {
		return note, flawed
	}
	c.noted.last = note
	return note, nil
}

// misplaced is a flaw of the place where the table is.
type misplaced struct {
	flaw
	foreign bool // it belongs to another environment
}

func (m *misplaced) Unwrap() error {
	if m.foreign {
		return relay.ErrForeign
	}
	return relay.ErrSetup
}

// fixAdopt needs a URL with the note's owner as the user.
const fixAdopt = "outbox-relay adopt  # with OUTBOX_DATABASE_URL of the table's owner"

// judgeNotes compares what is noted with where the table is, and returns what is wrong.
func judgeNotes(table schema.Table, notes []schema.Note, here schema.Place) (relay.Note, *misplaced) {
	found := relay.Note{Place: relay.Place{System: here.System, Database: here.Database}}
	worst := doubtWithoutNote(table, notes)
	for _, n := range notes {
		if m := judgeNote(table, n, here); m != nil && (worst == nil || m.foreign && !worst.foreign) {
			worst = m
		}
	}
	for _, n := range notes {
		if n.PausedAt != nil {
			found.Pause = relay.Pause{Since: *n.PausedAt, By: n.PausedBy, Reason: n.PauseReason}
		}
	}
	if worst != nil {
		found.Doubt = worst.found + ": " + worst.advice
	}
	return found, worst
}

func doubtWithoutNote(table schema.Table, notes []schema.Note) *misplaced {
	if len(notes) > 0 {
		return nil
	}
	return &misplaced{flaw: flaw{
		found:  fmt.Sprintf("nothing is noted of where table %s belongs, so a relay beside a copy of it would publish its rows again", table),
		advice: "run outbox-relay migrate",
		fix:    fixMigrate,
	}}
}

func judgeNote(table schema.Table, n schema.Note, here schema.Place) *misplaced {
	switch {
	case n.Environment != here.Environment && n.Environment != "":
		return &misplaced{foreign: true, flaw: flaw{
			found:  fmt.Sprintf("table %s belongs to environment %q, and %s: this relay publishes nothing of it", table, n.Environment, own(here.Environment)),
			advice: "set OUTBOX_ENVIRONMENT if this is that environment; if the table is to belong here, its owner runs outbox-relay adopt",
			fix:    fixAdopt,
		}}
	case n.Environment != here.Environment:
		return &misplaced{flaw: flaw{
			found:  fmt.Sprintf("%s, and no environment is noted beside table %s: a relay beside a copy of it would publish its rows again", own(here.Environment), table),
			advice: "its owner runs outbox-relay adopt",
			fix:    fixAdopt,
		}}
	}
	moved := differences(n.Place, here)
	if moved == "" {
		return nil
	}
	return &misplaced{flaw: flaw{
		found:  fmt.Sprintf("table %s was noted elsewhere (%s)", table, moved),
		advice: "if this is a copy, stop this relay; if the database was moved, renamed or upgraded, its owner runs outbox-relay adopt",
		fix:    fixAdopt,
	}}
}

func own(environment string) string {
	if environment == "" {
		return "OUTBOX_ENVIRONMENT is not set"
	}
	return fmt.Sprintf("OUTBOX_ENVIRONMENT is %q", environment)
}

// differences says in what two places differ, as far as both are known.
func differences(noted, here schema.Place) string {
	var all []string
	if noted.Database != here.Database {
		all = append(all, fmt.Sprintf("database %q, and this is %q", noted.Database, here.Database))
	}
	if noted.System != "" && here.System != "" && noted.System != here.System {
		all = append(all, fmt.Sprintf("system %s, and this is %s", noted.System, here.System))
	}
	return strings.Join(all, "; ")
}

// examineNote looks at where the table belongs.
func (s *session) examineNote(ctx context.Context, e *Examination, environment string) {
	check := relay.Check{Name: checkOrigin}
	n, err := s.lookHere(ctx, environment)
	var notes []schema.Note
	if err == nil {
		notes, err = s.readNotes(ctx, &n)
	}
	if err != nil {
		check.Severity, check.Found = relay.Warning, err.Error()
		e.add(check)
		return
	}
	note, wrong := judgeNotes(s.table, notes, n.here)
	e.Place = note.Place
	if note.Pause.On() {
		e.add(relay.Check{
			Name: checkPause, Severity: relay.Warning, Found: note.Pause.String() + ": nothing new is published",
			Fix: "outbox-relay resume  # when its reason is over",
		})
	}
	switch {
	case wrong == nil:
		check.Found = fmt.Sprintf("here since %s, noted by %s", notes[0].NotedAt.UTC().Format("2006-01-02 15:04"), notes[0].NotedBy)
		if environment != "" {
			check.Found += fmt.Sprintf(", environment %q", environment)
		}
	case wrong.foreign:
		check.Severity, check.Found, check.Fix = relay.Fault, wrong.found, wrong.fix
	default:
		check.Severity, check.Found, check.Fix = relay.Warning, wrong.found, wrong.fix
	}
	e.add(check)
}
