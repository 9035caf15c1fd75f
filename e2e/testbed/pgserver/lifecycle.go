package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// ErrRunning is returned by [Server.Restart] when the server was not stopped.
var ErrRunning = errors.New("PostgreSQL still runs: stop it first")

// startDeadline bounds a start whose context has no deadline of its own.
const startDeadline = time.Minute

// stopSignals are what pg_ctl sends for its modes.
var stopSignals = map[string]os.Signal{
	"smart":     syscall.SIGTERM,
	"fast":      syscall.SIGINT,
	"immediate": syscall.SIGQUIT,
}

// StopMode stops the server as pg_ctl stop -m does and waits until it has ended
// or ctx does: smart waits for all sessions to end, fast ends them (and waits for
// replication clients), immediate is a crash. The data are kept. A stopped
// server stays stopped without an error.
func (s *Server) StopMode(ctx context.Context, mode string) error {
	sig, ok := stopSignals[mode]
	if !ok {
		return fmt.Errorf("stop PostgreSQL: unknown mode %q, expected smart, fast or immediate", mode)
	}
	p := s.current()
	if p == nil || !p.Running() {
		return nil
	}
	if err := p.Stop(ctx, sig); err != nil {
		return fmt.Errorf("stop PostgreSQL (%s): %w", mode, err)
	}
	return nil
}

// Restart starts a stopped server again on the same port and returns when a
// query has been answered.
func (s *Server) Restart(ctx context.Context) error {
	if p := s.current(); p != nil && p.Running() {
		return ErrRunning
	}
	return s.run(ctx)
}

// Close stops the server at once and removes everything. Idempotent.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// A server that does not stop is killed by the directory's end.
	_ = s.StopMode(ctx, "immediate")
	err := s.dir.Close()
	if s.logFile != nil {
		_ = s.logFile.Close() // closed before when Close is called again
	}
	return err
}

func (s *Server) current() *testbed.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// awaitReady returns when the server answers a query. A process that ends
// before is an error at once.
func (s *Server) awaitReady(ctx context.Context, p *testbed.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-p.Done():
			return fmt.Errorf("server ended: %w", p.Err())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		case <-tick.C:
			if last = s.ask(ctx); last == nil {
				return nil
			}
		}
	}
}

// ask makes sure that the server on our port is ours: another program's server
// may have taken the port a moment before.
func (s *Server) ask(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var dir string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&dir); err != nil {
		return fmt.Errorf("ask for data directory: %w", err)
	}
	if dir != s.data() {
		return fmt.Errorf("port %d belongs to another cluster, %s", s.port, dir)
	}
	return nil
}
