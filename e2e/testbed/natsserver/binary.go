package natsserver

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

const (
	// module is the program's package; its version is the one in go.mod.
	module  = "github.com/nats-io/nats-server/v2"
	program = "nats-server"
)

// programDir is closed by nobody: it goes with this process. It is kept in a
// variable because the collector would close a forgotten one.
var programDir *testbed.Dir //nolint:unused // being there is its use

// binary builds the server program once per process and returns its path.
// Compiling takes a minute on a machine that never did, linking two seconds.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := testbed.NewDir("nats-server-bin-", nil)
	if err != nil {
		return "", err
	}
	path := dir.Join(program)
	// Not bound to the first caller's context: the others wait for the same build.
	if out, err := exec.Command("go", "build", "-o", path, module).CombinedOutput(); err != nil {
		err = fmt.Errorf("build %s: %w\n%s", module, err, strings.TrimSpace(string(out)))
		return "", errors.Join(err, dir.Close())
	}
	programDir = dir
	return path, nil
})
