package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Process is a server running in a [Dir].
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed

	mu     sync.Mutex
	paused bool
}

// Start starts cmd as the directory's process. Should this program die without
// [Dir.Close], the process and its children in the same group get the signal
// quit, and SIGKILL if they have not ended within five seconds. Terminal interrupts
// do not reach them. The working directory is the Dir unless cmd names one.
func (d *Dir) Start(cmd *exec.Cmd, quit syscall.Signal) (*Process, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lease == nil {
		return nil, ErrClosed
	}
	if d.process != nil && d.process.Running() {
		return nil, fmt.Errorf("start %s: process %d of the same directory still runs", cmd.Path, d.process.Pid())
	}
	if cmd.Dir == "" {
		cmd.Dir = d.path
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	d.process = p
	_, err := fmt.Fprintln(d.lease, int(quit), p.Pid())
	go p.wait(d.lease)
	if err != nil {
		p.kill()
		<-p.done
		return nil, fmt.Errorf("tell watchdog of %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Run runs cmd to its end as the directory's process, so that it does not outlive
// this program, and on in a directory that is being removed. The error has what it
// wrote. When ctx ends before, it is killed.
func (d *Dir) Run(ctx context.Context, cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	p, err := d.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("run %s: %w\n%s", filepath.Base(cmd.Path), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

func (p *Process) wait(lease io.Writer) {
	p.err = p.cmd.Wait()
	// The number may be given to another process now: the watchdog must forget it.
	_, _ = fmt.Fprintln(lease)
	close(p.done)
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits for the end and says how it came, as [Process.Err] does. When ctx
// ends before, it kills the process.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.kill()
		<-p.done
		return ctx.Err()
	}
}

// Err says how the process ended: nil for status 0, else an [exec.ExitError]. It
// waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Signal sends a signal. A process that has ended gives [os.ErrProcessDone].
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal process %d with %v: %w", p.Pid(), sig, err)
	}
	return nil
}

// Stop sends a signal, ends a pause, in which only SIGKILL would be obeyed, and waits
// until the process has ended or ctx does. How the process ended is no error here:
// see [Process.Err].
func (p *Process) Stop(ctx context.Context, sig os.Signal) error {
	if err := errors.Join(p.Signal(sig), p.Resume()); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for process %d after %v: %w", p.Pid(), sig, ctx.Err())
	}
}

// kill ends the process and what it has started in its group. It cannot be
// refused; an error means that it has ended.
func (p *Process) kill() {
	if p.Running() {
		_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
	}
}
