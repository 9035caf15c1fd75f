package relaybin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// patience is how long a test waits for what must happen soon; generous, for a
// machine with two cores and a race detector.
const patience = 90 * time.Second

// Process is a relay under way.
type Process struct {
	t       testing.TB
	service *testbed.Service
	log     output
}

// Start runs the relay with these variables and nothing else in its
// environment but an OUTBOX_HTTP_ADDR of its own; see [Process.HTTPAddr].
func Start(t testing.TB, v Variant, env map[string]string, args ...string) *Process {
	t.Helper()
	path, err := Build(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := testbed.NewDir("outbox-relay-", nil)
	if err != nil {
		t.Fatalf("make directory for relay: %v", err)
	}
	p := &Process{t: t, log: output{news: make(chan struct{})}}
	p.service, err = testbed.Start(t.Context(), testbed.Spec{
		Name: "relay", Dir: dir, Output: &p.log,
		Command: func() (*exec.Cmd, error) {
			cmd := exec.Command(path, args...)
			// Many relays run side by side, so each gets a port from the kernel.
			cmd.Env = []string{"GORACE=halt_on_error=1 exitcode=66", "OUTBOX_HTTP_ADDR=127.0.0.1:0"}
			for name, value := range env {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
			return cmd, nil
		},
	})
	if err != nil {
		t.Fatal(errors.Join(err, dir.Close()))
	}
	t.Cleanup(p.cleanup)
	return p
}

func (p *Process) cleanup() {
	if err := p.service.Close(); err != nil {
		p.t.Errorf("end relay: %v", err)
	}
	log := p.Log()
	for _, complaint := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(log, complaint) {
			p.t.Errorf("relay said %q:\n%s", complaint, log)
			return
		}
	}
	if p.t.Failed() {
		p.t.Logf("relay %d said:\n%s", p.Pid(), p.log.tail())
	}
}

// Pid is the process id.
func (p *Process) Pid() int { return p.service.Pid() }

// Log is everything the relay has written so far.
func (p *Process) Log() string {
	lines, _ := p.log.since(0)
	return strings.Join(lines, "\n")
}

// AwaitLog waits for a line that contains all of these texts.
func (p *Process) AwaitLog(texts ...string) string {
	p.t.Helper()
	deadline := time.After(patience)
	for from := 0; ; {
		lines, news := p.log.since(from)
		for _, line := range lines {
			if containsAll(line, texts) {
				return line
			}
		}
		from += len(lines)
		select {
		case <-news:
		case <-p.Exited():
			if lines, _ := p.log.since(from); len(lines) > 0 {
				continue // written before the end
			}
			p.t.Fatalf("relay ended (%v) without logging %q:\n%s", p.service.Process().Err(), texts, p.log.tail())
		case <-deadline:
			p.t.Fatalf("relay has not logged %q after %v:\n%s", texts, patience, p.log.tail())
		}
	}
}

// HTTPAddr is where the relay answers, once it has started.
func (p *Process) HTTPAddr() string {
	p.t.Helper()
	line := p.AwaitLog(`"msg":"starting"`, `"http":`)
	var record struct {
		HTTP string `json:"http"`
	}
	if err := json.Unmarshal([]byte(line), &record); err != nil || record.HTTP == "" {
		p.t.Fatalf("relay does not say where it answers, in JSON: %q (%v)", line, err)
	}
	return record.HTTP
}

// CountLog is the number of lines so far that contain all of these texts.
func (p *Process) CountLog(texts ...string) int {
	lines, _ := p.log.since(0)
	n := 0
	for _, line := range lines {
		if containsAll(line, texts) {
			n++
		}
	}
	return n
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.service.Process().Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("send %v to relay: %v", s, err)
	}
}

// Kill ends the process as kill -9 does, and waits for its end.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	p.await(patience)
}

// Terminate asks it to end as Kubernetes does, waits and demands exit status 0.
func (p *Process) Terminate() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(patience); code != 0 {
		p.t.Fatalf("relay ended with exit status %d after SIGTERM, want 0:\n%s", code, p.log.tail())
	}
}

// Wait waits for the end and returns the exit status; -1 after a signal.
func (p *Process) Wait(d time.Duration) int {
	p.t.Helper()
	p.await(d)
	if exit, ok := errors.AsType[*exec.ExitError](p.service.Process().Err()); ok {
		return exit.ExitCode()
	}
	return 0
}

// AwaitFaultPoint waits for the relay to kill itself.
func (p *Process) AwaitFaultPoint() {
	p.t.Helper()
	p.await(patience)
	if exit, ok := errors.AsType[*exec.ExitError](p.service.Process().Err()); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return
		}
	}
	p.t.Fatalf("relay ended (%v) instead of killing itself:\n%s", p.service.Process().Err(), p.log.tail())
}

func (p *Process) await(d time.Duration) {
	p.t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(d):
		p.t.Fatalf("relay has not ended after %v:\n%s", d, p.log.tail())
	}
}

// Exited is closed once the process and its output have ended.
func (p *Process) Exited() <-chan struct{} { return p.service.Process().Done() }

// PeakMemory is VmHWM: the most memory it ever had, in bytes.
func (p *Process) PeakMemory() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		p.t.Fatalf("read memory of relay: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				p.t.Fatalf("read memory of relay: %q: %v", line, err)
			}
			return kib << 10
		}
	}
	p.t.Fatalf("no VmHWM in %s", status)
	return 0
}

// CPUTime is what the process has used so far, in its own code and the kernel's.
func (p *Process) CPUTime() time.Duration {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		p.t.Fatalf("read processor time of relay: %v", err)
	}
	// After the name, which may contain anything: state is field 3, utime 14, stime 15.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			p.t.Fatalf("read processor time of relay: %q: %v", f, err)
		}
		ticks += n
	}
	const ticksPerSecond = 100 // USER_HZ, on every platform of Linux
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
