package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Superuser is the name of the cluster's superuser.
const Superuser = "postgres"

// Options of a [Server]. The zero value is fit for tests.
type Options struct {
	// Settings override those of postgresql.conf, without quotes.
	Settings map[string]string
	// Bin is the directory of its programs; that of [Binaries] if empty.
	Bin string
	// Log receives the server's log beside the file; nil for none.
	Log io.Writer
}

// Server is a running or stopped private cluster. Its Stop ends all sessions and
// waits for replication clients, as pg_ctl's fast mode does; its Kill is a crash
// (immediate); its Pause freezes the postmaster alone: sessions go on.
type Server struct {
	*testbed.Service
	dir      *testbed.Dir
	owner    *syscall.Credential
	bin      string
	settings settings // of the caller
	port     int      // set by the first start, constant afterwards
}

// Start makes a cluster and starts it. It blocks until a query has been answered
// or ctx ends; ctx means nothing afterwards. The caller closes the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin := o.Bin
	if bin == "" {
		var err error
		if bin, err = Binaries(); err != nil {
			return nil, err
		}
	}
	owner, err := Owner()
	if err != nil {
		return nil, err
	}
	s := &Server{owner: owner, bin: bin, settings: o.Settings}
	fill := func(ctx context.Context) error { return s.initdb(ctx) }
	if err := s.create(ctx, fill, o.Log); err != nil {
		return nil, err
	}
	return s, nil
}

// create has the data directory made, in a Dir of its own, and starts the server on
// it. Nothing is left of one that does not start.
func (s *Server) create(ctx context.Context, fill func(context.Context) error, output io.Writer) error {
	var err error
	if s.dir, err = testbed.NewDir("pgserver-", s.owner); err != nil {
		return err
	}
	if err = fill(ctx); err == nil {
		s.Service, err = testbed.Start(ctx, testbed.Spec{
			Name: "PostgreSQL", Dir: s.dir, Ports: 1, Output: output,
			Prepare: s.configure, Command: s.command, Ready: s.ask,
			StopSignal: syscall.SIGINT,
			// Its backends have process groups of their own.
			KillSignal: syscall.SIGQUIT,
		})
	}
	if err != nil {
		return errors.Join(err, s.dir.Close())
	}
	return nil
}

func (s *Server) initdb(ctx context.Context, more ...string) error {
	return s.dir.Run(ctx, s.own("initdb", append([]string{
		"--pgdata=" + s.data(), "--username=" + Superuser, "--auth=trust",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
	}, more...)...))
}

func (s *Server) command() (*exec.Cmd, error) { return s.own("postgres", "-D", s.data()), nil }

// own makes a command of one of PostgreSQL's own programs.
func (s *Server) own(program string, args ...string) *exec.Cmd {
	return s.adapt(exec.Command(filepath.Join(s.bin, program), args...))
}

// adapt gives a command the server's user and an environment without the PG
// variables of whoever runs the tests.
func (s *Server) adapt(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// configure appends our settings to postgresql.conf, where the last word wins.
// ALTER SYSTEM still overrides them.
func (s *Server) configure(_ context.Context, ports []int) error {
	s.port = ports[0]
	path := filepath.Join(s.data(), "postgresql.conf")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open configuration: %w", err)
	}
	_, err = io.WriteString(f, "\n"+render(s.settings, s.port, s.dir.Path()))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ask asks the server on our port whether it is ours.
func (s *Server) ask(ctx context.Context, _ int) error {
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

func (s *Server) data() string { return s.dir.Join("data") }

// Port is the loopback port, the same for the server's whole life.
func (s *Server) Port() int { return s.port }

// URL is the superuser's connection URL.
func (s *Server) URL(database string) string {
	return s.url(url.User(Superuser), database)
}

// URLAs is the connection URL of a role. The cluster does not check passwords.
func (s *Server) URLAs(role, password, database string) string {
	if password == "" {
		return s.url(url.User(role), database)
	}
	return s.url(url.UserPassword(role, password), database)
}

func (s *Server) url(user *url.Userinfo, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     user,
		Host:     "127.0.0.1:" + strconv.Itoa(s.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}
