package tail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// ExamineOptions say what is to be examined.
type ExamineOptions struct {
	Options
	// Needed: it is a fault if the log cannot be read. Otherwise the relay polls then,
	// and it is a warning.
	Needed bool
	// Ungated: rows are published before their transaction is visible to others.
	Ungated bool
}

// Examine looks at everything that reading the log needs: settings, attributes of the
// role, the publication, and what would block the slot's creation. It opens a
// replication session to test that, and creates no slot. The checks always come in
// the same order.
func Examine(ctx context.Context, o ExamineOptions) []relay.Check {
	o.Options = o.withDefaults()
	x := &examination{options: o}
	pg, err := x.connect(ctx)
	if err != nil {
		x.add(relay.Check{Name: "log", Severity: x.worst(), Found: "cannot be examined: " + err.Error()})
		return x.checks
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		_ = pg.Close(ctx) // it is closed either way
	}()
	x.pg = pg
	for _, examine := range []func(context.Context) error{
		x.settings, x.role, x.publication, x.session, x.blockers, x.abandoned,
	} {
		if err := examine(ctx); err != nil {
			x.add(relay.Check{Name: "log", Severity: relay.Warning, Found: err.Error()})
		}
	}
	return x.checks
}

type examination struct {
	options ExamineOptions
	pg      *pgconn.PgConn // an ordinary session
	checks  []relay.Check
	// noSession says that a replication session cannot be opened, for a reason that
	// another check has given.
	noSession bool
}

func (x *examination) add(c relay.Check) { x.checks = append(x.checks, c) }

// worst is how bad it is when the log cannot be read.
func (x *examination) worst() relay.Severity {
	if x.options.Needed {
		return relay.Fault
	}
	return relay.Warning
}

// judge adds a check that is fine where fault is empty.
func (x *examination) judge(name, fine, fault, fix string) {
	c := relay.Check{Name: name, Found: fine}
	if fault != "" {
		c = relay.Check{Name: name, Severity: x.worst(), Found: fault, Fix: fix}
	}
	x.add(c)
}

func (x *examination) connect(ctx context.Context) (*pgconn.PgConn, error) {
	config := x.options.Config.Copy()
	config.RuntimeParams["application_name"] = x.options.ApplicationName
	ctx, cancel := context.WithTimeout(ctx, connectDeadline)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := pin(ctx, pg, x.options.Options); err != nil {
		return nil, errors.Join(err, pg.Close(ctx))
	}
	return pg, nil
}

var (
	settingsStatement  = statements.Statement("settings", nil)
	roleStatement      = statements.Statement("role", nil)
	abandonedStatement = statements.Statement("abandoned", nil)
)

// serverSettings are those that can only be changed with a restart, how much of them is
// used, and the standbys.
type serverSettings struct {
	WALLevel             string
	MostSlots, Slots     int
	MostSenders, Senders int
	Standbys             string
	PassesForStandby     bool
}

func (x *examination) settings(ctx context.Context) error {
	s, err := one[serverSettings](ctx, x.pg, settingsStatement, nil)
	if err != nil {
		return fmt.Errorf("look up the server's settings: %w", err)
	}
	fault := ""
	if s.WALLevel != "logical" {
		fault = fmt.Sprintf("wal_level is %q, needs %q", s.WALLevel, "logical")
	}
	x.judge("wal_level", "logical", fault, "ALTER SYSTEM SET wal_level = 'logical';  -- as a superuser (Amazon RDS: the parameter rds.logical_replication = 1); then restart PostgreSQL")
	x.room("replication slots", "max_replication_slots", s.MostSlots, s.Slots)
	x.room("walsenders", "max_wal_senders", s.MostSenders, s.Senders)
	x.gate(s.Standbys)
	fault = ""
	if s.PassesForStandby {
		fault = "synchronous_standby_names has a *, which counts the relay's own connection as a synchronous standby"
	}
	x.judge("synchronous standbys", "the relay's connection does not count as one", fault,
		"ALTER SYSTEM SET synchronous_standby_names = 'standby1';  -- as a superuser, with the names of the standbys\nSELECT pg_reload_conf();")
	return nil
}

func (x *examination) room(name, setting string, most, used int) {
	fault := ""
	if used >= most {
		fault = fmt.Sprintf("all %d of %s are in use", most, setting)
		if name == "walsenders" {
			x.noSession = true
		}
	}
	x.judge(name, fmt.Sprintf("%d of %d are free", most-used, most), fault,
		fmt.Sprintf("ALTER SYSTEM SET %s = %d;  -- as a superuser; then restart PostgreSQL", setting, most+10))
}

func (x *examination) gate(standbys string) {
	c := relay.Check{Name: "visibility gate", Found: "no synchronous standby"}
	switch {
	case standbys != "" && x.options.Ungated:
		c.Severity = relay.Warning
		c.Found = "synchronous_standby_names is set, and rows are published before the standby has them: after a failover these rows may not exist"
		c.Fix = "set OUTBOX_VISIBILITY_GATE=auto"
	case standbys != "":
		c.Found = "there is a synchronous standby: a row of the log waits until its transaction is visible"
	}
	x.add(c)
}

func (x *examination) role(ctx context.Context) error {
	role, err := one[struct{ Replicates bool }](ctx, x.pg, roleStatement, nil)
	if err != nil {
		return fmt.Errorf("look up the role: %w", err)
	}
	name := sqltext.Identifier(x.options.Config.User)
	fault := ""
	if !role.Replicates {
		fault, x.noSession = "role "+name+" may not replicate", true
	}
	x.judge("replication role", "role "+name+" may replicate", fault,
		fmt.Sprintf("ALTER ROLE %[1]s REPLICATION;  -- as a superuser; on Amazon RDS: GRANT rds_replication TO %[1]s", name))
	return nil
}

func (x *examination) publication(ctx context.Context) error {
	err := CheckPublication(ctx, x.pg, x.options.Publication, x.options.Table)
	e, unavailable := errors.AsType[*UnavailableError](err)
	if err != nil && !unavailable {
		return err
	}
	found, fix := "", ""
	if unavailable {
		found, fix = splitPublication(e.Text)
	}
	x.judge("publication", sqltext.Identifier(x.options.Publication)+" sends all that is inserted into the table", found, fix)
	return nil
}

// splitPublication splits the sentence of a publication's fault into what is wrong and
// what to run, one statement a line. If there is a choice, it takes the first.
func splitPublication(text string) (found, fix string) {
	found, advice, _ := strings.Cut(text, ": run ")
	if command, _, either := strings.Cut(advice, ", or "); either || !strings.HasPrefix(advice, "ALTER ") {
		return found, command + "  # with OUTBOX_DATABASE_URL of the table's owner"
	}
	return found, strings.ReplaceAll(advice, ", and then ", ";\n") + ";"
}

// session opens what the tail would open.
func (x *examination) session(ctx context.Context) error {
	if x.noSession {
		return nil // another check says why
	}
	l := newLink()
	defer l.close()
	pg, err := connect(ctx, x.options.Options, l)
	fault := ""
	if err != nil {
		fault = "no session for replication: " + err.Error()
	} else {
		closing, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		_ = pg.Close(closing) // it is closed either way
	}
	x.judge("replication session", "can be opened", fault,
		"set OUTBOX_DATABASE_URL to PostgreSQL itself, where pg_hba.conf lets role "+sqltext.Identifier(x.options.Config.User)+" in")
	return nil
}

// longRunning is the age from which a transaction is reported: the creation of a slot
// waits no longer for one.
func (x *examination) longRunning() time.Duration { return x.options.LockTimeout }

// blockers looks for transactions that would block a slot's creation.
func (x *examination) blockers(ctx context.Context) error {
	open, err := lookUpBlockers(ctx, x.pg)
	if err != nil {
		return err
	}
	if open, err = x.stillOpen(ctx, open); err != nil {
		return err
	}
	var found, fixes []string
	for _, b := range open {
		found = append(found, b.String())
		if b.Prepared != "" {
			fixes = append(fixes, fmt.Sprintf("ROLLBACK PREPARED %s;  -- or COMMIT PREPARED, in database %q", sqltext.Literal(relay.OneLine(b.Prepared)), b.Database))
		} else {
			fixes = append(fixes, fmt.Sprintf("SELECT pg_terminate_backend(%d);  -- or have the application end its transaction", b.PID))
		}
	}
	fault := ""
	if len(found) > 0 {
		fault = "the log can be read once these have ended: " + strings.Join(found, ", ")
	}
	x.judge("transactions", "none is open for long", fault, strings.Join(fixes, "\n"))
	return nil
}

// stillOpen keeps the old transactions. If the role may not know their age, it keeps
// those that are still open a moment later.
func (x *examination) stillOpen(ctx context.Context, open []Blocker) ([]Blocker, error) {
	young := make(map[wal.XID]bool)
	var old []Blocker
	for _, b := range open {
		switch {
		case b.Age >= x.longRunning():
			old = append(old, b)
		case b.Age == 0:
			young[b.XID] = true
		}
	}
	if len(young) == 0 {
		return old, nil
	}
	if err := relay.Sleep(ctx, min(2*time.Second, x.longRunning())); err != nil {
		return nil, err
	}
	again, err := lookUpBlockers(ctx, x.pg)
	for _, b := range again {
		// One whose age is known by now, and small, had only just begun.
		if young[b.XID] && (b.Age == 0 || b.Age >= x.longRunning()) {
			old = append(old, b)
		}
	}
	return old, err
}

// abandoned looks for slots that nobody reads: the server keeps the log for them
// until its disk is full.
func (x *examination) abandoned(ctx context.Context) error {
	slots, err := all[struct{ Name, Retained string }](ctx, x.pg, abandonedStatement, nil)
	if err != nil {
		return fmt.Errorf("look up replication slots: %w", err)
	}
	c := relay.Check{Name: "abandoned slots", Found: "none"}
	var found, fixes []string
	for _, slot := range slots {
		found = append(found, fmt.Sprintf("%s (%s of the log)", slot.Name, slot.Retained))
		fixes = append(fixes, fmt.Sprintf("SELECT pg_drop_replication_slot(%s);  -- if nobody comes back for it", sqltext.Literal(slot.Name)))
	}
	if len(found) > 0 {
		c.Severity, c.Fix = relay.Warning, strings.Join(fixes, "\n")
		c.Found = "PostgreSQL keeps its log for slots that nobody reads: " + strings.Join(found, ", ")
	}
	x.add(c)
	return nil
}
