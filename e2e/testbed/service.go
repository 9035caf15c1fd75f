package testbed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// ErrRunning is returned by [Service.Restart] when the service was not stopped.
var ErrRunning = errors.New("it still runs: stop it first")

const (
	// startDeadline bounds a start whose context has no deadline of its own. The
	// slowest server, RabbitMQ, needs three seconds on an idle machine.
	startDeadline = 2 * time.Minute
	// endDeadline bounds the wait for a service that was told to end.
	endDeadline = 30 * time.Second
	// readyEvery is how often a service that starts is asked.
	readyEvery = 20 * time.Millisecond
)

// Spec describes a [Service]. Dir and Command are required.
type Spec struct {
	// Name is what errors call it, such as "PostgreSQL".
	Name string
	// Dir is where it runs and where its log is. The service closes it.
	Dir *Dir
	// Ports is how many ports to reserve for it; see [Dir.OnPorts].
	Ports int
	// Prepare is called before the first start with the ports, to write what the
	// service reads. It is called again, with others, when another program has taken
	// one of them meanwhile. Nil: nothing to write.
	Prepare func(ctx context.Context, ports []int) error
	// Command makes the command of one start. Its output is the service's affair.
	Command func() (*exec.Cmd, error)
	// Ready is asked until it returns nil, for process pid. It makes sure that it is
	// this process that answers: another program's server may have taken the port a
	// moment before. Nil: a process that was started is ready.
	Ready func(ctx context.Context, pid int) error
	// Output receives what the service writes, beside the log; nil for none.
	Output io.Writer
	// StopSignal ends it in order; SIGTERM if 0.
	StopSignal syscall.Signal
	// KillSignal ends it at once, its children included; SIGKILL if 0. A server whose
	// children outlive its own SIGKILL needs another one.
	KillSignal syscall.Signal
}

// Service is a program that runs in a [Dir] and that can be killed, frozen, stopped
// and started again, on the same ports and with the same files. The test servers
// embed one.
type Service struct {
	spec Spec
	log  *os.File

	mu      sync.Mutex
	process *Process // the newest one; nil before the first start
}

// Start starts a service and returns when it is ready; ctx means nothing
// afterwards. The error of a start that fails ends with the service's last words,
// and nothing runs then. The caller closes the service, or the Dir after an error.
func Start(ctx context.Context, spec Spec) (*Service, error) {
	spec.StopSignal = cmp.Or(spec.StopSignal, syscall.SIGTERM)
	spec.KillSignal = cmp.Or(spec.KillSignal, syscall.SIGKILL)
	log, err := os.OpenFile(spec.Dir.Join("output.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", spec.Name, err)
	}
	s := &Service{spec: spec, log: log}
	if err := s.first(ctx); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return s, nil
}

// first is the start that chooses the ports.
func (s *Service) first(ctx context.Context) error {
	return s.spec.Dir.OnPorts(ctx, s.spec.Ports, func(ports []int) error {
		if s.spec.Prepare != nil {
			if err := s.spec.Prepare(ctx, ports); err != nil {
				return err
			}
		}
		return s.start(ctx)
	})
}

// start runs the process and waits until it is ready. One that does not become
// ready is killed.
func (s *Service) start(ctx context.Context) error {
	cmd, err := s.spec.Command()
	if err != nil {
		return err
	}
	cmd.Stdout = s.log
	if s.spec.Output != nil {
		cmd.Stdout = io.MultiWriter(s.log, s.spec.Output)
		// A child that outlives the process must not hold up its end.
		cmd.WaitDelay = 5 * time.Second
	}
	cmd.Stderr = cmd.Stdout
	process, err := s.spec.Dir.Start(cmd, s.spec.KillSignal)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.process = process
	s.mu.Unlock()
	if err := s.awaitReady(ctx, process); err != nil {
		return fmt.Errorf("start %s: %w; its log ends:\n%s", s.spec.Name, errors.Join(err, s.Kill()), s.LastWords())
	}
	return nil
}

// awaitReady returns when the process serves. One that ends before is an error at
// once.
func (s *Service) awaitReady(ctx context.Context, process *Process) error {
	if s.spec.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-process.Done():
			return fmt.Errorf("it ended: %w", cmp.Or(process.Err(), errors.New("exit status 0")))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait until it is ready: %w", ctx.Err()), last)
		case <-tick.C:
			if last = s.spec.Ready(ctx, process.Pid()); last == nil {
				return nil
			}
		}
	}
}

// Process is the newest process, which may have ended.
func (s *Service) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// Pid is the process id, also of a process that has ended.
func (s *Service) Pid() int { return s.Process().Pid() }

// Kill ends the service as a crash does, frozen or not, and waits for its end. A
// service that has ended is no error.
func (s *Service) Kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), endDeadline)
	defer cancel()
	return s.end(ctx, s.spec.KillSignal)
}

// Stop ends the service in order, as its operator would, and waits for its end, for
// half a minute unless ctx ends before. A service that has ended is no error.
func (s *Service) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endDeadline)
	defer cancel()
	return s.end(ctx, s.spec.StopSignal)
}

func (s *Service) end(ctx context.Context, signal syscall.Signal) error {
	process := s.Process()
	if process == nil || !process.Running() {
		return nil
	}
	if err := process.Stop(ctx, signal); err != nil {
		return fmt.Errorf("end %s: %w", s.spec.Name, err)
	}
	return nil
}

// Pause freezes the service with SIGSTOP and returns when it stands still:
// connections stay open, nothing comes back.
func (s *Service) Pause() error { return s.Process().Pause() }

// Resume ends a pause.
func (s *Service) Resume() error { return s.Process().Resume() }

// Restart starts a service that has ended again, with the same ports and files, and
// returns when it is ready. One that runs gives [ErrRunning].
func (s *Service) Restart(ctx context.Context) error {
	if s.Process().Running() {
		return fmt.Errorf("start %s again: %w", s.spec.Name, ErrRunning)
	}
	return s.start(ctx)
}

// LogFile is the path of what the service writes.
func (s *Service) LogFile() string { return s.log.Name() }

// LastWords is the end of the log, for an error message.
func (s *Service) LastWords() string { return Tail(s.log.Name()) }

// Close kills the service and removes its files. Idempotent.
func (s *Service) Close() error {
	// What does not end is killed by the Dir's end.
	_ = s.Kill()
	err := s.spec.Dir.Close()
	_ = s.log.Close() // closed before when Close is called again
	return err
}
