//go:build faultpoint

package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// faultpoint kills the process with SIGKILL when the point named by the
// environment is passed for the n-th time: RELAY_FAULTPOINT=before-mark:7. It
// is compiled into the binaries of the end-to-end tests only.
func faultpoint(name string) {
	if name != armed.name || armed.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // never go on while the signal is on its way
}

var armed = func() (a struct {
	name string
	left *atomic.Int64
},
) {
	a.left = new(atomic.Int64)
	spec := os.Getenv("RELAY_FAULTPOINT")
	if spec == "" {
		return a
	}
	name, count, _ := strings.Cut(spec, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		fmt.Fprintf(os.Stderr, "RELAY_FAULTPOINT=%q: want name:count, such as before-mark:7\n", spec)
		os.Exit(2)
	}
	a.name = name
	a.left.Store(n)
	return a
}()
