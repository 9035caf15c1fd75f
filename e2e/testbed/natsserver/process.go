package natsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Process is a NATS server in a process of its own.
type Process struct {
	site
	process *testbed.Process // the newest one; guarded by site.mu
}

// StartProcess starts the real server program and returns when it accepts
// connections. The program is built from the module at the first use, which
// needs the go command. ctx means nothing afterwards. The caller closes the
// server.
func StartProcess(ctx context.Context, o Options) (*Process, error) {
	p := &Process{}
	if err := p.prepare(ctx, o, p.start); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Process) start(ctx context.Context) error {
	path, err := binary()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open NATS log: %w", err)
	}
	defer log.Close() // the server has its own descriptor
	cmd := exec.Command(path, "-c", p.configFile(), "-sd", p.store, "--ports_file_dir", p.dir.Path())
	cmd.Stdout, cmd.Stderr = log, log
	process, err := p.dir.Start(cmd, "KILL")
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, process); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = process.Stop(stop, syscall.SIGKILL)
		return fmt.Errorf("start NATS server on port %d: %w; its log ends:\n%s", p.port, err, testbed.Tail(p.logFile()))
	}
	p.process = process
	return nil
}

// awaitReady waits for the file that the server writes when it listens. It needs
// neither credentials nor certificates, and its name carries the process id, so
// another server on the port is not taken for ours.
func (p *Process) awaitReady(ctx context.Context, process *testbed.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	file := p.dir.Join(fmt.Sprintf("%s_%d.ports", program, process.Pid()))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-process.Done():
			return fmt.Errorf("server ended: %w", process.Err())
		case <-ctx.Done():
			return fmt.Errorf("wait until it accepts connections: %w", ctx.Err())
		case <-tick.C:
			// Written in place: until it is whole it is no JSON.
			if text, err := os.ReadFile(file); err == nil && json.Valid(text) {
				return nil
			}
		}
	}
}

func (p *Process) logFile() string { return p.dir.Join("nats.log") }

// Pid is the process id, also of a process that has ended.
func (p *Process) Pid() int { return p.current().Pid() }

// Kill ends the server with SIGKILL, frozen or not, and waits for its end. A
// server that has ended is no error.
func (p *Process) Kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.current().Stop(ctx, syscall.SIGKILL)
}

// Pause freezes the server with SIGSTOP and returns when it stands still:
// connections stay open, nothing comes back.
func (p *Process) Pause() error { return p.current().Pause() }

// Resume ends a pause.
func (p *Process) Resume() error { return p.current().Resume() }

// Restart starts a killed server again, with the same port and store.
func (p *Process) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process.Running() {
		return ErrRunning
	}
	return p.start(ctx)
}

// Close kills the server and removes its temporary directory. Idempotent.
func (p *Process) Close() error {
	return errors.Join(p.Kill(), p.dir.Close())
}

func (p *Process) current() *testbed.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process
}
