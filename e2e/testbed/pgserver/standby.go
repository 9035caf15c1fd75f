package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
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

// promotion bounds the wait for a standby to take writes.
const promotion = time.Minute

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
	primary := fmt.Sprintf("host=%s port=%s user=%s sslmode=disable application_name=%s", host, port, Superuser, o.Name)
	copied := &Server{owner: s.owner, bin: s.bin, settings: s.settings.with(map[string]string{
		"primary_conninfo": primary, "synchronous_standby_names": "",
	})}
	follow := func(ctx context.Context) error { return copied.follow(ctx, primary) }
	if err := copied.create(ctx, follow, nil); err != nil {
		return nil, err
	}
	return copied, nil
}

// follow fills the directory with a copy of the primary, made to follow it.
func (s *Server) follow(ctx context.Context, primary string) error {
	err := s.dir.Run(ctx, s.own("pg_basebackup",
		"--pgdata="+s.data(), "--dbname="+primary, "--wal-method=stream", "--checkpoint=fast", "--no-sync", "--no-password"))
	if err != nil {
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
	err = conn.QueryRow(ctx, `SELECT pg_promote(true, $1)`, int(promotion.Seconds())).Scan(&promoted)
	if err == nil && !promoted {
		err = ErrNotPromoted
	}
	if err != nil {
		return fmt.Errorf("promote PostgreSQL: %w", err)
	}
	return nil
}
