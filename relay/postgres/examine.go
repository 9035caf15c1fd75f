package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Names of the checks, in their order.
const (
	checkConnection = "connection"
	checkPooler     = "pooler"
	checkServer     = "server"
	checkTable      = "table"
	checkShapeName  = "columns"
	checkLater      = "new columns"
	checkPrivileges = "privileges"
	checkSecurity   = "row-level security"
	checkOrigin     = "origin"
	checkPause      = "pause"
	checkIndexes    = "indexes"
	checkPartitions = "partitions"
	checkGuard      = "guard"
	checkSequence   = "sequence"
	checkRepeats    = "message ids"
	checkKeys       = "keys"
	checkTopics     = "topics"
	checkLock       = "leadership lock"
	checkStandbys   = "standbys"
)

// Examination is what [Database.Examine] found.
type Examination struct {
	Checks []relay.Check
	// Topics of pending rows, at most as many as asked for; of the newest rows where
	// none is pending.
	Topics []string
	// Place is where the table is; of no value where that was not found out.
	Place relay.Place
	// Primary says that a server was reached on which the relay could work, and not
	// through a pooler that forbids it: the log can be examined too.
	Primary bool
}

func (e *Examination) add(c relay.Check) { e.Checks = append(e.Checks, c) }

// judge adds a check: a fault if err is set. It says whether all is as it should be.
func (e *Examination) judge(name, fine string, err error) bool {
	if err == nil {
		e.add(relay.Check{Name: name, Found: fine})
		return true
	}
	check := relay.Check{Name: name, Severity: relay.Fault, Found: err.Error()}
	if f, ok := errors.AsType[*flaw](err); ok {
		check.Found, check.Fix = f.found, f.fix
	}
	e.add(check)
	return false
}

// Examine looks at everything that the relay needs of the database. (The log is
// examined by the package tail.) It leaves out checks that an earlier fault makes
// impossible. It changes nothing.
func (d *Database) Examine(ctx context.Context, topics int) Examination {
	var e Examination
	if !d.examineConnection(ctx, &e) {
		return e
	}
	s, err := d.open(ctx, readSettings)
	if err != nil {
		e.judge(checkServer, "", err)
		return e
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, examineDeadline)
	defer cancel()
	if !e.judge(checkServer, "a primary that takes writes", s.checkWritable(ctx)) {
		return e
	}
	e.Primary = true
	t, err := s.lookUpTable(ctx)
	if !e.judge(checkTable, s.table.String(), err) {
		return e
	}
	readable := s.examineTable(ctx, &e, t, d.options.AfterSend)
	if !t.NoteHidden {
		s.examineNote(ctx, &e, d.options.Environment)
	}
	s.examinePartitions(ctx, &e, t)
	s.examineObjects(ctx, &e, t)
	s.examineRetention(ctx, &e, d.options.Retention)
	d.examineLock(ctx, s, &e)
	if readable {
		s.examineRepeats(ctx, &e)
		s.examineKeys(ctx, &e)
		if e.Topics, err = s.topics(ctx, topics); err != nil {
			e.add(relay.Check{Name: checkTopics, Severity: relay.Warning, Found: err.Error()})
		}
	}
	return e
}

// ConnConfig is how to connect to the database; the caller's own copy.
func (d *Database) ConnConfig() *pgconn.Config { return d.config.Config.Copy() }

// examineDeadline bounds all of it after connecting.
const examineDeadline = 30 * time.Second

// examineTable says whether the role can read the table as it is.
func (s *session) examineTable(ctx context.Context, e *Examination, t tableFacts, after AfterSend) bool {
	columns, err := s.lookUpColumns(ctx, t.OID)
	if err != nil {
		return e.judge(checkShapeName, "", err)
	}
	sound := true
	if flawed, ok := errors.AsType[*flaw](checkNulls(s.table, columns)); ok && checkShape(s.table, columns) == nil {
		e.add(relay.Check{Name: checkShapeName, Severity: relay.Warning, Found: flawed.found, Fix: flawed.fix})
	} else {
		sound = e.judge(checkShapeName, "as the relay needs them", checkShape(s.table, columns))
	}
	if off, ok := errors.AsType[*flaw](s.checkLater(t, columns)); ok && sound {
		e.add(relay.Check{Name: checkLater, Severity: relay.Warning, Found: off.found, Fix: off.fix})
	}
	permitted := e.judge(checkPrivileges, "role "+t.Role+" may read and mark", s.checkGrants(t, columns, after))
	visible := e.judge(checkSecurity, "hides nothing", checkRowSecurity(s.table, t))
	return sound && permitted && visible
}

var versionStatement = files.Statement("version", nil)

// examineConnection connects as any client does, without the relay's settings:
// a pooler in between would keep them for others. It says whether the rest can
// be examined.
func (d *Database) examineConnection(ctx context.Context, e *Examination) bool {
	first, err := d.connectPlain(ctx)
	if err != nil {
		e.add(d.unreachable(err))
		return false
	}
	defer first.close()
	server, err := sqltext.One[struct{ Version string }](ctx, sqltext.On(first.conn), versionStatement, nil)
	if err != nil {
		e.judge(checkConnection, "", first.explain("ask PostgreSQL for its version", err))
		return false
	}
	r, err := askRoute(ctx, first.pg)
	if err != nil {
		e.judge(checkConnection, "", err)
		return false
	}
	e.add(relay.Check{
		Name:  checkConnection,
		Found: fmt.Sprintf("PostgreSQL %s at %s as %s", server.Version, address(first.pg), d.config.User),
	})
	promised, fix := promise(&d.config.Config)
	e.add(newPeer(first.pg.Conn(), promised, fix).Check())
	if r.pooler == "" {
		e.add(relay.Check{Name: checkPooler, Found: "none in between"})
		return true
	}
	check := d.examinePooler(ctx, first, r)
	e.add(check)
	return check.Severity != relay.Fault
}

// connectPlain connects without the settings of [Database.open]. Only its name and
// encoding are set.
func (d *Database) connectPlain(ctx context.Context) (*session, error) {
	config, err := d.connConfig()
	if err != nil {
		return nil, err
	}
	return d.openAs(ctx, config, untouched)
}

// unreachable says why there is no connection.
func (d *Database) unreachable(err error) relay.Check {
	check := relay.Check{Name: checkConnection, Severity: relay.Fault, Found: err.Error()}
	if errors.As(err, new(*relay.PlaintextError)) {
		check.Fix = verifyFull
		return check
	}
	at := net.JoinHostPort(d.config.Host, strconv.Itoa(int(d.config.Port)))
	switch sqltext.Code(err) {
	case codeInvalidPassword, codeInvalidAuthorization:
		check.Fix = "set OUTBOX_DATABASE_URL to a role that may log in from here, with its password (see pg_hba.conf)"
	case codeInvalidDatabase:
		check.Fix = fmt.Sprintf("CREATE DATABASE %s;  -- or set OUTBOX_DATABASE_URL to the application's database", sqltext.Identifier(d.config.Database))
	case codeTooManyConnections:
		check.Fix = "ALTER SYSTEM SET max_connections = 200;  -- as a superuser; then restart PostgreSQL, or end sessions that nobody needs"
	case "":
		check.Fix = cmp.Or(certificateFix(err), "start PostgreSQL at "+at+", or set OUTBOX_DATABASE_URL to where it listens")
	}
	return check
}

func address(pg *pgconn.PgConn) string {
	if a := pg.Conn().RemoteAddr(); a.Network() != "unix" {
		return a.String()
	}
	return "a Unix socket"
}
