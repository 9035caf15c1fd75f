package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// signalled, in the environment, makes this test binary a process that waits
// for signals. Its value says what it does after the first one.
const signalled = "OUTBOX_RELAY_TEST_SIGNALLED"

// TestSignalledProcess is that process; it is no test of its own.
func TestSignalledProcess(t *testing.T) {
	mode := os.Getenv(signalled)
	if mode == "" {
		t.Skip("started by the tests of signals")
	}
	ctx, stop := untilSignal(t.Context())
	fmt.Println("waiting")
	<-ctx.Done()
	fmt.Println("ending")
	if mode == "hangs" {
		select {} // as if a broker never answered
	}
	stop()
	os.Exit(0)
}

func TestFirstSignalEndsInGoodOrder(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := startSignalled(t, "ends")
		p.send(s)
		p.expect("ending")
		if status := p.status(); status != 0 {
			t.Errorf("exit status %d after %v, want 0", status, s)
		}
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	for s, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130} {
		p := startSignalled(t, "hangs")
		p.send(syscall.SIGTERM)
		p.expect("ending")
		p.send(s)
		if status := p.status(); status != want {
			t.Errorf("exit status %d after a second signal %v, want %d", status, s, want)
		}
	}
}

func TestStopEndsTheContext(t *testing.T) {
	ctx, stop := untilSignal(t.Context())
	stop()
	if ctx.Err() == nil {
		t.Error("the context outlives stop")
	}
}

// process is a child and its output, line by line.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

func startSignalled(t *testing.T, mode string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestSignalledProcess$"), lines: make(chan string, 16)}
	p.cmd.Env = append(os.Environ(), signalled+"="+mode)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	// A child that hangs must not outlive the test; the error says that it ended.
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	p.expect("waiting")
	return p
}

func (p *process) send(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for a line.
func (p *process) expect(want string) {
	p.t.Helper()
	select {
	case line := <-p.lines:
		if line != want {
			p.t.Fatalf("child said %q, want %q", line, want)
		}
	case <-time.After(20 * time.Second):
		p.t.Fatalf("child did not say %q", want)
	}
}

// status waits for the end and returns the exit status.
func (p *process) status() int {
	p.t.Helper()
	deadline := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer deadline.Stop()
	for range p.lines { // until the child's end closes its output
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); errors.As(err, &exit) {
		return exit.ExitCode()
	} else if err != nil {
		p.t.Fatal(err)
	}
	return 0
}
