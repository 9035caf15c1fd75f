package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Timing of a build.
const (
	// watchInterval is how often it is told how far a build is, and for whom it waits.
	watchInterval = 10 * time.Second
	// interruptDeadline is how long the server may take to give up a build.
	interruptDeadline = 10 * time.Second
)

var (
	treeStatement     = lookUpFiles.Statement("tree", nil)
	indexesStatement  = lookUpFiles.Statement("indexes", nil)
	waitsStatement    = lookUpFiles.Statement("waits", nil)
	progressStatement = lookUpFiles.Statement("progress", nil)
	turnStatement     = lookUpFiles.Statement("turn", nil)
	settingsStatement = lookUpFiles.Statement("settings", nil)
)

// builder builds indexes, one at a time, beside the application's writes. Two builds of one
// table would wait for each other's snapshots until one of them is ended as a deadlock,
// perhaps after hours; so there is one builder of a table at a time. Its turn is a lock of
// watch's transaction, which holds no snapshot that the build would wait for.
type builder struct {
	*teller
	conn, watch *pgx.Conn
	pid         int64 // of conn
	options     Options
}

// buildIndexes builds what is missing. It changes nothing, and connects to nothing, if
// nothing is.
func buildIndexes(ctx context.Context, conn *pgx.Conn, o Options, say *teller) error {
	if s, err := lookUpStep(ctx, conn, o.Table); s == nil {
		return err
	}
	watch, err := pgx.ConnectConfig(ctx, conn.Config())
	if err != nil {
		return fmt.Errorf("connect once more, to watch how indexes are built: %w", err)
	}
	defer func() { _ = watch.Close(context.WithoutCancel(ctx)) }()
	b := builder{teller: say, conn: conn, watch: watch, options: o}
	if err := b.takeTurn(ctx); err != nil {
		return err
	}
	// Through a pooler it is another than the driver's.
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_backend_pid()").Scan(&b.pid); err != nil {
		return fmt.Errorf("look up the session: %w", err)
	}
	restore, err := b.unbound(ctx)
	if err != nil {
		return err
	}
	defer restore()
	for last := (step{}); ; {
		s, err := lookUpStep(ctx, conn, o.Table)
		if s == nil || *s == last { // the server sees no need for it
			return err
		}
		if err := b.run(ctx, *s); err != nil {
			return err
		}
		last = *s
	}
}

func lookUpStep(ctx context.Context, conn *pgx.Conn, t Table) (*step, error) {
	given := sqltext.Args{"table": t.Quoted()}
	relations, err := sqltext.All[relation](ctx, sqltext.On(conn), treeStatement, given)
	if err != nil {
		return nil, fmt.Errorf("look up the partitions: %w", err)
	}
	indexes, err := sqltext.All[builtIndex](ctx, sqltext.On(conn), indexesStatement, given)
	if err != nil {
		return nil, fmt.Errorf("look up the indexes: %w", err)
	}
	return layout{relations, indexes}.next(t)
}

// ask is how watch is asked. In the extended protocol a statement's portal keeps its
// snapshot until the next one, and the build would wait for that.
func (b *builder) ask() sqltext.Session { return sqltext.Simple(b.watch.PgConn()) }

// takeTurn waits for nobody.
func (b *builder) takeTurn(ctx context.Context) error {
	const begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL search_path = pg_catalog, pg_temp"
	if err := b.watch.PgConn().Exec(ctx, begin).Close(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	turn, err := sqltext.One[struct{ Alone bool }](ctx, b.ask(), turnStatement, sqltext.Args{"table": b.options.Table.Quoted()})
	switch {
	case err != nil:
		return fmt.Errorf("look whether another migration builds indexes: %w", err)
	case !turn.Alone:
		return &busyError{"another migration builds the indexes of this table"}
	}
	return nil
}

// bounds could end a build from outside, or give it functions of another schema.
// transaction_timeout came with PostgreSQL 17.
var bounds = []string{"lock_timeout", "statement_timeout", "transaction_timeout", "search_path"}

// unbound takes the bounds away. They are the caller's, and come back.
func (b *builder) unbound(ctx context.Context) (restore func(), err error) {
	type setting struct{ Name, Setting string }
	before, err := sqltext.All[setting](ctx, sqltext.On(b.conn), settingsStatement, sqltext.Args{"names": bounds})
	if err != nil {
		return nil, fmt.Errorf("look up settings: %w", err)
	}
	set := func(ctx context.Context, name, value string) error {
		_, err := b.conn.Exec(ctx, "SELECT pg_catalog.set_config($1, $2, false)", name, value)
		return err
	}
	for _, s := range before {
		value := "0"
		if s.Name == "search_path" {
			value = "pg_catalog, pg_temp"
		}
		if err := set(ctx, s.Name, value); err != nil {
			return nil, fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptDeadline)
		defer cancel()
		for _, s := range before {
			_ = set(ctx, s.Name, s.Setting) // a connection that is gone has no settings
		}
	}, nil
}

func (b *builder) run(ctx context.Context, s step) error {
	name, table := displayIdentifier(s.index), s.table
	switch s.kind {
	case stepBuild:
		b.tell(fmt.Sprintf("building index %s of %s, beside what is written", name, table))
		return b.build(ctx, s)
	case stepFrame:
		b.tell(fmt.Sprintf("creating index %s of %s, to be filled partition by partition", name, table))
	case stepAttach:
		b.tell(fmt.Sprintf("attaching index %s of partition %s", name, table))
	}
	return runScript(ctx, b.conn, "BEGIN; SET LOCAL lock_timeout = '400ms'; "+s.sql+"; COMMIT", b.options.Table, b.options.Patience)
}

// build runs a statement that may take hours. It ends it when ctx does, and awaits that.
func (b *builder) build(ctx context.Context, s step) error {
	done := make(chan error, 1)
	go func() { done <- b.conn.PgConn().Exec(context.WithoutCancel(ctx), s.sql).Close() }()
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			switch {
			case err == nil:
				return nil
			case isLockConflict(err):
				return &busyError{fmt.Sprintf("index %s was not built: %v", displayIdentifier(s.index), err)}
			}
			return fmt.Errorf("build index %s: %w", displayIdentifier(s.index), describe(err))
		case <-ticker.C:
			b.tell(fmt.Sprintf("index %s: %s", displayIdentifier(s.index), b.progress(ctx)))
		case <-ctx.Done():
			if err := b.interrupt(done); err == nil {
				return ctx.Err() // it was just built
			}
			return fmt.Errorf("index %s is not built, and what there is of it costs each INSERT: migrate again, which drops it and begins anew: %w",
				displayIdentifier(s.index), ctx.Err())
		}
	}
}

// interrupt ends the statement that conn runs, and returns what became of it.
func (b *builder) interrupt(done <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), interruptDeadline)
	defer cancel()
	_ = b.conn.PgConn().CancelRequest(ctx)
	select {
	case err := <-done:
		return err
	case <-ctx.Done(): // nobody answers
		_ = b.conn.PgConn().Conn().Close()
		return <-done
	}
}

// progress says what the build is doing.
func (b *builder) progress(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, interruptDeadline)
	defer cancel()
	pid := sqltext.Args{"pid": b.pid}
	waits, err := sqltext.Column[string](ctx, b.ask(), waitsStatement, pid)
	if err == nil && len(waits) > 0 {
		return "it waits for the transactions that are older than it: " + strings.Join(waits, ", ")
	}
	// Within a transaction the server answers such questions once.
	if err := b.watch.PgConn().Exec(ctx, "SELECT pg_stat_clear_snapshot()").Close(); err != nil {
		return "building"
	}
	is, err := sqltext.One[struct {
		Phase   string
		Percent *int64
	}](ctx, b.ask(), progressStatement, pid)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err != nil:
		return "building"
	case is.Percent != nil:
		return fmt.Sprintf("%s, %d %%", is.Phase, *is.Percent)
	}
	return is.Phase
}

// teller tells nothing twice in a row.
type teller struct {
	say  func(string)
	last string
}

func newTeller(say func(string)) *teller {
	if say == nil {
		say = func(string) {}
	}
	return &teller{say: say}
}

func (t *teller) tell(message string) {
	if message != t.last {
		t.last = message
		t.say(message)
	}
}
