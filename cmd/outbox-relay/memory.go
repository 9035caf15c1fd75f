package main

import (
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/cgroup"
)

// memoryShare of the cgroup's limit, in percent, is for what Go's runtime manages. The
// rest is for what it does not count, such as the kernel's buffers of the connections.
const memoryShare = 90

// limitMemory tells the garbage collector how much memory there is: what the cgroup of
// the container or of the unit allows. Near that it works harder. Without it the kernel
// would kill a relay for garbage that nobody needs. root is the root of the file system.
// The variables of Go's runtime win.
func limitMemory(env []string, root string, log *slog.Logger) {
	if isSet(env, "GOMEMLIMIT") {
		return
	}
	allowed := cgroup.MemoryLimit(root)
	if allowed == 0 {
		return
	}
	limit := allowed / 100 * memoryShare
	debug.SetMemoryLimit(limit)
	log.Info("the cgroup limits memory", slog.Int64("bytes", allowed), slog.Int64("gomemlimit", limit))
}

// isSet says whether a variable has a value that is not empty.
func isSet(env []string, name string) bool {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
			return true
		}
	}
	return false
}
