package rabbitserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// ErrRunning is returned by [Server.Restart] when the server was not stopped.
var ErrRunning = errors.New("RabbitMQ still runs: stop it first")

const (
	// startDeadline bounds a start whose context has no deadline of its own. A node
	// needs three seconds on an idle machine.
	startDeadline = 2 * time.Minute
	stopDeadline  = 30 * time.Second
	ctlDeadline   = time.Minute
)

// Server is a running or stopped private node.
type Server struct {
	options Options
	bin     string
	dir     *testbed.Dir // the node's
	mapper  *testbed.Dir // epmd's: a directory holds one process
	ports   ports

	mu      sync.Mutex       // held while the node changes between running and stopped
	process *testbed.Process // the newest one
}

// ports are chosen once. All lie below 65536 minus what Erlang adds to others:
// the distribution port has to be given, or the node takes the AMQP port plus
// 20000, which may not exist.
type ports struct{ amqp, tls, dist, epmd int }

// Start starts a node and returns when it accepts connections. ctx means nothing
// afterwards. The caller closes the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin, err := Binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, bin: bin}
	if s.dir, err = testbed.NewDir("rabbitserver-", nil); err != nil {
		return nil, err
	}
	if s.mapper, err = testbed.NewDir("rabbitserver-epmd-", nil); err != nil {
		return nil, errors.Join(err, s.dir.Close())
	}
	if err := s.create(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) create(ctx context.Context) error {
	return s.dir.OnPorts(ctx, 4, func(p []int) error {
		s.ports = ports{amqp: p[0], tls: p[1], dist: p[2], epmd: p[3]}
		if err := s.writeConfig(); err != nil {
			return err
		}
		mapper, err := s.startMapper()
		if err != nil {
			return err
		}
		if err := s.start(ctx); err != nil {
			return errors.Join(err, kill(ctx, mapper))
		}
		return nil
	})
}

func kill(ctx context.Context, p *testbed.Process) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopDeadline)
	defer cancel()
	return p.Stop(ctx, syscall.SIGKILL)
}

// startMapper starts the node's own epmd in the foreground. Left to itself
// Erlang starts one as a daemon that outlives everything.
func (s *Server) startMapper() (*testbed.Process, error) {
	path, err := portMapper()
	if err != nil {
		return nil, err
	}
	return s.mapper.Start(exec.Command(path, "-port", strconv.Itoa(s.ports.epmd), "-address", "127.0.0.1"), "KILL")
}

func (s *Server) start(ctx context.Context) error {
	log, err := os.OpenFile(s.consoleFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open RabbitMQ log: %w", err)
	}
	defer log.Close() // the node has its own descriptor
	cmd := exec.Command(filepath.Join(s.bin, "rabbitmq-server"))
	cmd.Env = s.environ()
	cmd.Stdout, cmd.Stderr = log, log
	process, err := s.dir.Start(cmd, "KILL")
	if err != nil {
		return err
	}
	if err := s.awaitReady(ctx, process); err != nil {
		_ = kill(ctx, process)
		return fmt.Errorf("start RabbitMQ on port %d: %w; its log ends:\n%s", s.ports.amqp, err, testbed.Tail(s.consoleFile()))
	}
	s.process = process
	return nil
}

// awaitReady waits until a client is served by this very node.
func (s *Server) awaitReady(ctx context.Context, process *testbed.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-process.Done():
			return fmt.Errorf("server ended: %w", process.Err())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait until it accepts connections: %w", ctx.Err()), last)
		case <-tick.C:
			if last = s.ask(); last == nil {
				return nil
			}
		}
	}
}

func (s *Server) ask() error {
	conn, err := amqp.Dial(s.URL())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if name, ok := conn.Properties["cluster_name"].(string); ok && !strings.HasPrefix(name, strings.TrimSuffix(s.node(), "localhost")) {
		return fmt.Errorf("port %d belongs to another node, %s", s.ports.amqp, name)
	}
	return nil
}

// Addr is the loopback address, host:port, the same for the server's whole life.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports.amqp)) }

// TLSAddr is the address that {TLS} in Options.Config stands for.
func (s *Server) TLSAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports.tls)) }

// URL is that of the user guest, who may do everything in the virtual host /.
func (s *Server) URL() string { return s.URLAs("guest", "guest") }

// URLAs is the URL of a user in the virtual host /.
func (s *Server) URLAs(user, password string) string {
	return "amqp://" + user + ":" + password + "@" + s.Addr() + "/"
}

func (s *Server) consoleFile() string { return s.dir.Join("console.log") }

// Path is the node's directory.
func (s *Server) Path() string { return s.dir.Path() }
