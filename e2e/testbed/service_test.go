package testbed_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// script is a service whose program is a shell script, ready once it has written its
// process id to the file ready.
func script(dir *testbed.Dir, text string) testbed.Spec {
	return testbed.Spec{
		Name: "script", Dir: dir,
		Command: func() (*exec.Cmd, error) { return exec.Command("sh", "-c", text), nil },
		Ready: func(_ context.Context, pid int) error {
			text, err := os.ReadFile(dir.Join("ready"))
			if err == nil && strings.TrimSpace(string(text)) != strconv.Itoa(pid) {
				return fmt.Errorf("process %s is ready, not %d", text, pid)
			}
			return err
		},
	}
}

// loop runs until it is told to end.
const loop = `echo $$ >ready; echo started; while :; do sleep 0.02; done`

func startService(t *testing.T, spec testbed.Spec) *testbed.Service {
	t.Helper()
	s, err := testbed.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServiceEndsInEveryWayAndStartsAgain(t *testing.T) {
	s := startService(t, script(newDir(t), loop))
	paused := func(end func() error) func() error {
		return func() error { return errors.Join(s.Pause(), end()) }
	}
	stop := func() error { return s.Stop(t.Context()) }
	for _, way := range []struct {
		name   string
		end    func() error
		signal syscall.Signal
	}{
		{"kill", s.Kill, syscall.SIGKILL},
		{"stop", stop, syscall.SIGTERM},
		{"kill of a frozen one", paused(s.Kill), syscall.SIGKILL},
		{"stop of a frozen one", paused(stop), syscall.SIGTERM},
	} {
		pid := s.Pid()
		if err := s.Restart(t.Context()); !errors.Is(err, testbed.ErrRunning) {
			t.Errorf("restart of a running service: %v, want ErrRunning", err)
		}
		if err := way.end(); err != nil {
			t.Fatalf("%s: %v", way.name, err)
		}
		exit, ok := errors.AsType[*exec.ExitError](s.Process().Err())
		if !ok || exit.Sys().(syscall.WaitStatus).Signal() != way.signal {
			t.Errorf("%s: it ended with %v, want %v", way.name, exit, way.signal)
		}
		if err := errors.Join(s.Kill(), stop()); err != nil {
			t.Errorf("end after %s: %v", way.name, err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatalf("restart after %s: %v", way.name, err)
		}
		if s.Pid() == pid || !s.Process().Running() {
			t.Errorf("after %s process %d runs, was %d", way.name, s.Pid(), pid)
		}
	}
	path := s.LogFile()
	if got := strings.Count(s.LastWords(), "started"); got != 5 {
		t.Errorf("the log tells of %d starts, want 5", got)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if !gone(path) || !ended(s.Pid()) {
		t.Error("a closed service left something")
	}
}

func TestServiceThatDoesNotObeyIsWaitedForNoLongerThanTold(t *testing.T) {
	s := startService(t, script(newDir(t), `trap "" TERM; `+loop))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "end script") {
		t.Errorf("stop: %v, want deadline exceeded and the service's name", err)
	}
	if err := s.Kill(); err != nil {
		t.Error(err)
	}
}

func TestServiceThatFailsToStartSaysItsLastWords(t *testing.T) {
	for _, c := range []struct {
		name, text string
		stays      bool // until the start is given up
		want       string
	}{
		{"it ends with an error", `echo no such setting >&2; exit 3`, false, "exit status 3"},
		{"it ends without one", `echo no such setting`, false, "exit status 0"},
		{"it never becomes ready", `echo no such setting; exec sleep 600`, true, "context canceled"},
		{"another process answers", `echo 1 >ready; echo no such setting; exec sleep 600`, true, "process 1\n is ready"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newDir(t)
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			spec := script(dir, c.text)
			ready := spec.Ready
			spec.Ready = func(ctx context.Context, pid int) error {
				words, err := os.ReadFile(dir.Join("output.log"))
				if c.stays && len(words) > 0 {
					defer giveUp()
				}
				return errors.Join(err, ready(ctx, pid))
			}
			_, err := testbed.Start(ctx, spec)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasSuffix(err.Error(), "its log ends:\nno such setting") {
				t.Errorf("start: %v, want %q and the last words", err, c.want)
			}
			// Nothing runs: the Dir takes another process.
			if _, err := dir.Start(exec.Command("sleep", "600"), syscall.SIGKILL); err != nil {
				t.Error("start after the failure:", err)
			}
		})
	}
}

// Another program takes the port between its reservation and the start.
func TestServiceThatLostItsPortGetsAnother(t *testing.T) {
	dir := newDir(t)
	spec := script(dir, loop)
	var tried []int
	spec.Ports = 1
	spec.Prepare = func(_ context.Context, ports []int) error {
		tried = append(tried, ports[0])
		if len(tried) > 1 {
			return nil
		}
		thief, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])))
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = thief.Close() })
		return errors.New("address in use")
	}
	startService(t, spec)
	if len(tried) != 2 || tried[0] == tried[1] {
		t.Errorf("tried ports %v, want two different ones", tried)
	}
}
