package testbed

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// pauseDeadline bounds the wait for a process to stand still; it takes less than
// a millisecond, unless a thread is in the middle of a long system call.
const pauseDeadline = 10 * time.Second

// Pause freezes the process with SIGSTOP and returns when it stands still. The
// signal alone is not enough: threads on other processors go on for a moment and
// may still answer. A paused process stays paused.
func (p *Process) Pause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused && p.Running() {
		return nil
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(pauseDeadline); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stopped, err := p.stopped()
		if err != nil {
			return fmt.Errorf("pause process %d: %w", p.Pid(), err)
		}
		if stopped {
			p.paused = true
			return nil
		}
	}
	return fmt.Errorf("pause process %d: it still runs after %v", p.Pid(), pauseDeadline)
}

// stopped asks the kernel once whether the stop is complete.
func (p *Process) stopped() (bool, error) {
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(p.Pid(), &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
	switch {
	case errors.Is(err, syscall.EINTR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask for its state: %w", err)
	case pid != 0 && !status.Stopped():
		// Reaped here; the goroutine that waits for the end sees that it is gone.
		return false, errors.New("it has ended")
	}
	return pid != 0, nil
}

// Resume ends a pause.
func (p *Process) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
	return p.Signal(syscall.SIGCONT)
}
