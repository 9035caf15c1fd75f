package testbed_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
)

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func ended(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func newDir(t *testing.T) *testbed.Dir {
	t.Helper()
	dir, err := testbed.NewDir("testbed-test-", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestCloseKillsTheProcessAndRemovesTheDirectory(t *testing.T) {
	dir := newDir(t)
	p, err := dir.Start(exec.Command("sleep", "600"), syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.Join("file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	if !gone(dir.Path()) {
		t.Error("the directory is still there")
	}
	if !ended(p.Pid()) {
		t.Error("the process still runs")
	}
	if err := dir.Close(); err != nil {
		t.Error("second close:", err)
	}
	if _, err := dir.Start(exec.Command("sleep", "600"), syscall.SIGTERM); !errors.Is(err, testbed.ErrClosed) {
		t.Errorf("start after close: %v, want ErrClosed", err)
	}
}

func TestDeathOfTheProgramLeavesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(self)
	program.Env = append(os.Environ(), crashVariable+"=1")
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err == nil {
		t.Fatal("the program ended by itself")
	}
	var path string
	var pid int
	if _, err := fmt.Sscan(line, &path, &pid); err != nil {
		t.Fatalf("read %q from the program: %v, %v", line, err, readErr)
	}
	await.Until(t, "the end of the orphaned process", func() bool { return ended(pid) })
	await.Until(t, "the end of the directory", func() bool { return gone(path) })
}

func TestOneProcessAtATime(t *testing.T) {
	dir := newDir(t)
	first, err := dir.Start(exec.Command("sleep", "600"), syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Start(exec.Command("sleep", "600"), syscall.SIGTERM); err == nil {
		t.Fatal("a second process was started beside the first")
	}
	if err := first.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if first.Err() == nil {
		t.Error("a terminated process has no error")
	}
	// A stop that comes too late is none.
	if err := first.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Error("second stop:", err)
	}
	if _, err := dir.Start(exec.Command("sleep", "600"), syscall.SIGTERM); err != nil {
		t.Error("start after the first has ended:", err)
	}
}

func TestOwnersDirectoryIsReachable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", closed)
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	dir, err := testbed.NewDir("testbed-test-", nobody)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	}()
	if filepath.Dir(dir.Path()) == closed {
		t.Error("the directory is where its owner cannot go")
	}
	touch := exec.Command("touch", dir.Join("file"))
	touch.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
	if out, err := touch.CombinedOutput(); err != nil {
		t.Errorf("the owner cannot write: %v: %s", err, out)
	}
}
