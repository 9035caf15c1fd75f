package rabbitserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Pid is the process id of the Erlang machine, also of one that has ended.
func (s *Server) Pid() int { return s.current().Pid() }

// Stop ends the node in order, as an operator would, and waits for its end. A
// node that has ended is no error.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the node with SIGKILL and waits for its end. A node that has ended
// is no error.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopDeadline)
	defer cancel()
	p := s.current()
	if p == nil {
		return nil
	}
	return p.Stop(ctx, signal)
}

// Pause freezes the node with SIGSTOP and returns when it stands still:
// connections stay open, nothing comes back.
func (s *Server) Pause() error { return s.current().Pause() }

// Resume ends a pause.
func (s *Server) Resume() error { return s.current().Resume() }

// Restart starts a stopped node again, with the same port and data.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process.Running() {
		return ErrRunning
	}
	return s.start(ctx)
}

// Close kills the node and its port mapper and removes its directory.
// Idempotent.
func (s *Server) Close() error {
	return errors.Join(s.Kill(), s.dir.Close(), s.mapper.Close())
}

// Ctl runs rabbitmqctl on the node and returns what it prints. It takes a second
// or two.
func (s *Server) Ctl(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, ctlDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "rabbitmqctl"), append([]string{"--quiet"}, args...)...)
	cmd.Env, cmd.Dir = s.environ(), s.dir.Path()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("rabbitmqctl %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// Environ is what a shell needs to run rabbitmqctl on this node, as name=value.
func (s *Server) Environ() []string { return s.environ() }

func (s *Server) current() *testbed.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}
