package testbed_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// crashVariable turns this test binary into a program that starts a process in a
// Dir, tells of it, and waits to be killed.
const crashVariable = "TESTBED_TEST_CRASH"

func TestMain(m *testing.M) {
	if os.Getenv(crashVariable) != "" {
		crash()
		return
	}
	goleak.VerifyTestMain(m)
}

func crash() {
	dir, err := testbed.NewDir("testbed-crash-", nil)
	if err != nil {
		panic(err)
	}
	p, err := dir.Start(exec.Command("sleep", "600"), syscall.SIGTERM)
	if err != nil {
		panic(err)
	}
	fmt.Println(dir.Path(), p.Pid())
	<-p.Done()
}
