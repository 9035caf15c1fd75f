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
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// ctlDeadline bounds one run of rabbitmqctl.
const ctlDeadline = time.Minute

// Server is a running or stopped private node.
type Server struct {
	*testbed.Service
	options Options
	place   place
	dir     *testbed.Dir
	mapper  *testbed.Service // epmd, in a Dir of its own: that holds one process
	ports   ports
}

// ports are chosen once. All lie below 65536 minus what Erlang adds to others:
// the distribution port has to be given, or the node takes the AMQP port plus
// 20000, which may not exist.
type ports struct{ amqp, tls, dist, epmd int }

// Start starts a node and returns when it accepts connections. ctx means nothing
// afterwards. The caller closes the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	where, err := findPlace()
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, place: where}
	if s.dir, err = where.newDir("rabbitserver-"); err != nil {
		return nil, err
	}
	s.Service, err = testbed.Start(ctx, testbed.Spec{
		Name: "RabbitMQ", Dir: s.dir, Ports: 4,
		Prepare: s.prepare, Command: s.command, Ready: s.ask,
	})
	if err != nil {
		return nil, errors.Join(err, s.closeMapper(), s.dir.Close())
	}
	return s, nil
}

func (s *Server) prepare(ctx context.Context, p []int) error {
	s.ports = ports{amqp: p[0], tls: p[1], dist: p[2], epmd: p[3]}
	if err := s.writeConfig(); err != nil {
		return err
	}
	return s.startMapper(ctx)
}

// startMapper starts the node's own epmd in the foreground. Left to itself
// Erlang starts one as a daemon that outlives everything.
func (s *Server) startMapper(ctx context.Context) error {
	path, err := s.place.portMapper()
	if err != nil {
		return err
	}
	if err := s.closeMapper(); err != nil { // of ports that were lost
		return err
	}
	dir, err := s.place.newDir("rabbitserver-epmd-")
	if err != nil {
		return err
	}
	s.mapper, err = testbed.Start(ctx, testbed.Spec{Name: "epmd", Dir: dir, Command: func() (*exec.Cmd, error) {
		return s.place.command(context.Background(), dir, path, "-port", strconv.Itoa(s.ports.epmd), "-address", "127.0.0.1"), nil
	}})
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	return nil
}

func (s *Server) closeMapper() error {
	if s.mapper == nil {
		return nil
	}
	return s.mapper.Close()
}

func (s *Server) command() (*exec.Cmd, error) {
	cmd := s.place.command(context.Background(), s.dir, filepath.Join(s.place.bin, "rabbitmq-server"))
	cmd.Env = s.environ()
	return cmd, nil
}

// ask asks whether a client is served by this very node.
func (s *Server) ask(context.Context, int) error {
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

// Path is the node's directory.
func (s *Server) Path() string { return s.dir.Path() }

// Close kills the node and its port mapper and removes their files. Idempotent.
func (s *Server) Close() error { return errors.Join(s.Service.Close(), s.closeMapper()) }

// Ctl runs rabbitmqctl on the node and returns what it prints. It takes a second
// or two. A node serves clients a moment before rabbitmqctl takes it for running, so it is
// asked again until then.
func (s *Server) Ctl(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"--quiet"}, args...)
	ctx, cancel := context.WithTimeout(ctx, ctlDeadline)
	defer cancel()
	for {
		out, err := s.run(ctx, nil, filepath.Join(s.place.bin, "rabbitmqctl"), args...)
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "requires the 'rabbit' app to be running") {
			return out, err
		}
	}
}

// SaveDeclarations writes to disk what has been declared. It may wait in the memory of
// Erlang's logs and tables for seconds, and does not survive a kill then.
func (s *Server) SaveDeclarations(ctx context.Context) error {
	_, err := s.Ctl(ctx, "eval", "mnesia:sync_log(), [dets:sync(T) || T <- dets:all()], ok.")
	if err != nil {
		return fmt.Errorf("save declarations: %w", err)
	}
	return nil
}

// Shell runs a command line in which rabbitmqctl is that of the node, as its operator
// would, with more variables (name=value), and returns what it prints.
func (s *Server) Shell(ctx context.Context, line string, env ...string) (string, error) {
	env = append(env, "PATH="+s.place.bin+":"+os.Getenv("PATH"))
	return s.run(ctx, env, "/bin/sh", "-c", line)
}

// run runs a program beside the node to its end.
func (s *Server) run(ctx context.Context, env []string, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, ctlDeadline)
	defer cancel()
	cmd := s.place.command(ctx, s.dir, program, args...)
	cmd.Env = append(s.environ(), env...)
	cmd.WaitDelay = 5 * time.Second // a child of its may outlive it
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, text)
	}
	return text, nil
}
