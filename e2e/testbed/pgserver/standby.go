package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// StandbyOptions of a [Server.Standby].
type StandbyOptions struct {
	// Name is what synchronous_standby_names calls it; "standby" if empty.
	Name string
	// Through is the address, host:port, by which it reaches its primary, such as
	// that of a proxy. Empty: the primary's own.
	Through string
}

// ErrNotPromoted is returned by [Server.Promote] when the server stayed a standby.
var ErrNotPromoted = errors.New("PostgreSQL is still a standby")

// Standby copies the server, which has to run, and starts the copy as a streaming
// standby with a port of its own, which answers queries when Standby returns. It
// is asynchronous until the primary's synchronous_standby_names has its name. The
// settings are the primary's, except that it waits for no standby of its own when
// it is promoted. The caller closes it, before or after its primary.
func (s *Server) Standby(ctx context.Context, o StandbyOptions) (*Server, error) {
	if o.Name == "" {
		o.Name = "standby"
	}
	if o.Through == "" {
		o.Through = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	}
	host, port, err := net.SplitHostPort(o.Through)
	if err != nil {
		return nil, fmt.Errorf("read address of the primary: %w", err)
	}
	dir, err := testbed.NewDir("pgserver-", s.owner)
	if err != nil {
		return nil, err
	}
	primary := fmt.Sprintf("host=%s port=%s user=%s sslmode=disable application_name=%s", host, port, Superuser, o.Name)
	copied := &Server{dir: dir, owner: s.owner, bin: s.bin, settings: s.settings.with(map[string]string{
		"primary_conninfo": primary, "synchronous_standby_names": "",
	})}
	if err := copied.follow(ctx, primary); err != nil {
		return nil, errors.Join(err, copied.Close())
	}
	return copied, nil
}

// follow fills the directory with a copy of the primary and starts it.
func (s *Server) follow(ctx context.Context, primary string) error {
	if err := s.backUp(ctx, primary); err != nil {
		return err
	}
	signal := filepath.Join(s.data(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return fmt.Errorf("make a standby: %w", err)
	}
	if s.owner != nil {
		if err := os.Chown(signal, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return fmt.Errorf("make a standby: %w", err)
		}
	}
	return s.listen(ctx, nil)
}

// backUp makes the data directory, as the Dir's process, as initdb does.
func (s *Server) backUp(ctx context.Context, primary string) error {
	cmd := exec.Command(filepath.Join(s.bin, "pg_basebackup"),
		"--pgdata="+s.data(), "--dbname="+primary, "--wal-method=stream", "--checkpoint=fast", "--no-sync", "--no-password")
	s.adapt(cmd)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	p, err := s.dir.Start(cmd, "KILL")
	if err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("run pg_basebackup: %w\n%s", err, strings.TrimSpace(out.String()))
	}
	return nil
}

// Promote makes a standby a primary and returns when it takes writes. What it had
// received is replayed first. The old primary must have been stopped: two would
// take writes.
func (s *Server) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("promote PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var promoted bool
	err = conn.QueryRow(ctx, `SELECT pg_promote(true, $1)`, int(startDeadline.Seconds())).Scan(&promoted)
	if err == nil && !promoted {
		err = ErrNotPromoted
	}
	if err != nil {
		return fmt.Errorf("promote PostgreSQL: %w", err)
	}
	return nil
}
