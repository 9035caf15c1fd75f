package pgserver

import (
	"bytes"
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
	"sync"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Superuser is the name of the cluster's superuser.
const Superuser = "postgres"

// Options of a [Server]. The zero value is fit for tests.
type Options struct {
	// Settings override those of postgresql.conf, without quotes.
	Settings map[string]string
	// Log receives the server's log beside the file; nil for none.
	Log io.Writer
}

// Server is a running or stopped private cluster.
type Server struct {
	dir      *testbed.Dir
	owner    *syscall.Credential
	bin      string
	settings settings // of the caller
	// output is what the server writes to: logFile, and Options.Log beside it.
	output  io.Writer
	logFile *os.File

	port int // set by Start, constant afterwards

	mu      sync.Mutex
	process *testbed.Process
}

// Start makes a cluster and starts it. It blocks until a query has been answered
// or ctx ends; ctx means nothing afterwards. The caller closes the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin, err := Binaries()
	if err != nil {
		return nil, err
	}
	owner, err := credential()
	if err != nil {
		return nil, err
	}
	dir, err := testbed.NewDir("pgserver-", owner)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, owner: owner, bin: bin, settings: o.Settings}
	if err := s.create(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) create(ctx context.Context, o Options) error {
	if err := s.initdb(ctx); err != nil {
		return err
	}
	return s.listen(ctx, o.Log)
}

// listen starts the server for the first time, on a port of its own.
func (s *Server) listen(ctx context.Context, also io.Writer) error {
	if err := s.openLog(also); err != nil {
		return err
	}
	return s.dir.OnPorts(ctx, 1, func(ports []int) error {
		s.port = ports[0]
		if err := s.configure(); err != nil {
			return err
		}
		return s.run(ctx)
	})
}

// initdb makes the data directory, as the Dir's process: one that outlived
// this program would go on filling a directory that is being removed.
func (s *Server) initdb(ctx context.Context) error {
	cmd := exec.Command(filepath.Join(s.bin, "initdb"),
		"--pgdata="+s.data(), "--username="+Superuser, "--auth=trust",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	s.adapt(cmd)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	p, err := s.dir.Start(cmd, "KILL")
	if err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, strings.TrimSpace(out.String()))
	}
	return nil
}

// configure appends our settings to postgresql.conf, where the last word wins.
// ALTER SYSTEM still overrides them.
func (s *Server) configure() error {
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

// openLog opens the log file once for the server's whole life.
func (s *Server) openLog(also io.Writer) error {
	file, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open server log: %w", err)
	}
	s.logFile, s.output = file, file
	if also != nil {
		s.output = io.MultiWriter(file, also)
	}
	return nil
}

// adapt gives a command the server's user and an environment without the
// PG variables of whoever runs the tests.
func (s *Server) adapt(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") {
			cmd.Env = append(cmd.Env, v)
		}
	}
}

// run starts the server process and waits until it answers. A process that does
// not answer is killed.
func (s *Server) run(ctx context.Context) error {
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.data())
	s.adapt(cmd)
	cmd.Stdout, cmd.Stderr = s.output, s.output
	// A backend that outlives the postmaster must not hold up the end of ours.
	cmd.WaitDelay = 5 * time.Second
	p, err := s.dir.Start(cmd, "QUIT")
	if err != nil {
		return err
	}
	if err := s.awaitReady(ctx, p); err != nil {
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = p.Stop(kill, syscall.SIGQUIT)
		return fmt.Errorf("start PostgreSQL on port %d: %w; its log ends:\n%s", s.port, err, testbed.Tail(s.LogFile()))
	}
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	return nil
}

func (s *Server) data() string { return s.dir.Join("data") }

// LogFile is the path of the server's log.
func (s *Server) LogFile() string { return s.dir.Join("postgres.log") }

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
