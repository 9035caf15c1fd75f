package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// PoolMode is PgBouncer's pool_mode.
type PoolMode string

// The modes.
const (
	PoolSession     PoolMode = "session"
	PoolTransaction PoolMode = "transaction"
	PoolStatement   PoolMode = "statement"
)

// Pooler is a PgBouncer in front of a [Server].
type Pooler struct {
	*testbed.Service
	dir  *testbed.Dir
	port int
}

// ErrNoPooler: the program pgbouncer is not installed.
var ErrNoPooler = errors.New("pgbouncer is not installed: on Debian or Ubuntu run apt-get install pgbouncer")

// StartPooler starts the real PgBouncer before the server and returns when a
// query has been answered through it. Everybody may come in, as at the server.
// The settings are further lines of its configuration. The caller closes the pooler.
func StartPooler(ctx context.Context, s *Server, mode PoolMode, settings ...string) (*Pooler, error) {
	program, err := poolerProgram()
	if err != nil {
		return nil, err
	}
	dir, err := testbed.NewDir("pgbouncer-", s.owner)
	if err != nil {
		return nil, err
	}
	p := &Pooler{dir: dir}
	p.Service, err = testbed.Start(ctx, testbed.Spec{
		Name: "PgBouncer", Dir: dir, Ports: 1, Ready: p.ask,
		Prepare: func(_ context.Context, ports []int) error {
			p.port = ports[0]
			return p.configure(s, mode, settings)
		},
		Command: func() (*exec.Cmd, error) { return s.adapt(exec.Command(program, p.config())), nil },
	})
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return p, nil
}

// poolerProgram finds it also where an ordinary user's PATH does not.
func poolerProgram() (string, error) {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	const debian = "/usr/sbin/pgbouncer"
	if _, err := os.Stat(debian); err == nil {
		return debian, nil
	}
	return "", ErrNoPooler
}

func (p *Pooler) config() string { return p.dir.Join("pgbouncer.ini") }

func (p *Pooler) configure(s *Server, mode PoolMode, settings []string) error {
	users := p.dir.Join("users.txt")
	text := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
auth_query = SELECT rolname::text, ''::text FROM pg_catalog.pg_roles WHERE rolname = $1
auth_user = %s
pool_mode = %s
ignore_startup_parameters = extra_float_digits
%s
`, s.port, p.port, users, Superuser, mode, strings.Join(settings, "\n"))
	for path, content := range map[string]string{p.config(): text, users: fmt.Sprintf("%q \"\"\n", Superuser)} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("configure PgBouncer: %w", err)
		}
	}
	return nil
}

func (p *Pooler) ask(ctx context.Context, _ int) error {
	conn, err := pgx.Connect(ctx, p.URLAs(Superuser, "postgres"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return conn.Close(ctx)
}

// URLAs is the URL of a role through the pooler, which checks no password.
func (p *Pooler) URLAs(role, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(role), Host: "127.0.0.1:" + strconv.Itoa(p.port),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Through is another URL of the same server, by way of the pooler.
func (p *Pooler) Through(direct string) (string, error) {
	u, err := url.Parse(direct)
	if err != nil {
		return "", fmt.Errorf("parse URL: %w", err)
	}
	return p.URLAs(u.User.Username(), strings.TrimPrefix(u.Path, "/")), nil
}
