package postgres

import (
	"context"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Pause keeps all relays of the table from publishing anything new, until [Database.Resume].
// It stands in the table's note, so it outlives them. An error that a person has to fix
// wraps [relay.ErrSetup].
func (d *Database) Pause(ctx context.Context, reason string) (relay.Pause, error) {
	made, err := d.changeNote(ctx, "pause", sqltext.Args{"host": d.options.Host, "reason": reason})
	if err == nil && len(made) == 0 {
		err = setup(nil, "nothing is noted beside table %s: run outbox-relay migrate", d.options.Table)
	}
	if err != nil {
		return relay.Pause{}, fmt.Errorf("pause: %w", err)
	}
	return made[0], nil
}

// Resume ends a pause and returns it; it is not On if there was none.
func (d *Database) Resume(ctx context.Context) (relay.Pause, error) {
	ended, err := d.changeNote(ctx, "resume", nil)
	if err != nil {
		return relay.Pause{}, fmt.Errorf("resume: %w", err)
	}
	if len(ended) == 0 {
		return relay.Pause{}, nil
	}
	return ended[0], nil
}

func (d *Database) changeNote(ctx context.Context, statement string, given sqltext.Args) ([]relay.Pause, error) {
	s, err := d.open(ctx, readSettings)
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	if err := s.checkWritable(ctx); err != nil {
		return nil, err
	}
	note := s.table.Note().Quoted()
	on := sqltext.On(s.conn)
	noted, err := schema.HasNote(ctx, on, s.table)
	if err != nil {
		return nil, s.explain("look for the note of the table", err)
	}
	if !noted {
		return nil, setup(nil, "table %s has no note: run outbox-relay migrate", s.table)
	}
	found, err := sqltext.All[relay.Pause](ctx, on, files.Statement(statement, struct{ Note string }{note}), given)
	if sqltext.Code(err) == codeInsufficientPrivilege {
		role := sqltext.Identifier(s.conn.Config().User)
		return nil, setup(err, "run GRANT SELECT, UPDATE (paused_at, paused_by, pause_reason) ON %s TO %s; and, if it may not use the schema, GRANT USAGE ON SCHEMA %s TO %s;",
			note, role, sqltext.Identifier(s.table.Schema), role)
	}
	if err != nil {
		return nil, s.explain("change the note of the table", err)
	}
	return found, nil
}
