package pgserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
)

// crashVariable turns this test binary into a program that starts a server,
// tells of it, and waits to be killed.
const crashVariable = "PGSERVER_TEST_CRASH"

func TestMain(m *testing.M) {
	if os.Getenv(crashVariable) != "" {
		crash()
		return
	}
	goleak.VerifyTestMain(m)
}

func crash() {
	s, err := pgserver.Start(context.Background(), pgserver.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.LogFile())
	select {}
}

func TestKilledProgramLeavesNoServer(t *testing.T) {
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
	dir := filepath.Dir(strings.TrimSpace(line))
	postmaster, pidErr := pidOf(filepath.Join(dir, "data"))
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err == nil {
		t.Fatal("the program ended by itself")
	}
	if err := errors.Join(readErr, pidErr); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the end of the server", func() bool {
		return errors.Is(syscall.Kill(postmaster, 0), syscall.ESRCH)
	})
	await.Until(t, "the end of its directory", func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// The program dies while initdb still fills the directory.
func TestKilledProgramLeavesNoHalfMadeCluster(t *testing.T) {
	tmp := t.TempDir()
	if err := os.Chmod(filepath.Dir(tmp), 0o755); err != nil { // the server's user goes there
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(self)
	program.Env = append(os.Environ(), crashVariable+"=1", "TMPDIR="+tmp)
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the beginning of initdb", func() bool { return matches(t, tmp, "pgserver-*/data/base") == 1 })
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err == nil {
		t.Fatal("the program ended by itself")
	}
	await.Until(t, "the end of the directory", func() bool { return matches(t, tmp, "pgserver-*") == 0 })
}

func matches(t *testing.T, dir, pattern string) int {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return len(paths)
}

// pidOf is the number of the server process of a data directory.
func pidOf(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(first)
}
