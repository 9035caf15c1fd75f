package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/sandbox"
)

// crashVariable turns this test binary into a program that starts a process in a
// sandbox, tells of it, and waits to be killed.
const crashVariable = "SANDBOX_TEST_CRASH"

func TestMain(m *testing.M) {
	if os.Getenv(crashVariable) != "" {
		crash()
		return
	}
	goleak.VerifyTestMain(m)
}

func crash() {
	dir, err := sandbox.NewDir("sandbox-crash-", nil)
	if err != nil {
		panic(err)
	}
	p, err := dir.Start(exec.Command("sleep", "600"), "TERM")
	if err != nil {
		panic(err)
	}
	fmt.Println(dir.Path(), p.Pid())
	<-p.Done()
}
