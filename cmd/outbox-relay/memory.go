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

// besideBuffer is how many bytes the relay needs beside the rows that it reads ahead, with
// the garbage that it may leave for a while.
const besideBuffer = 56 << 20

// limitMemory tells the garbage collector near how many bytes to work harder. Otherwise
// garbage may take as much memory again as the rows that are read ahead (buffer, in bytes),
// and in a cgroup that allows less the kernel would kill a relay for garbage that nobody
// needs. root is the root of the file system. The variables of Go's runtime win.
func limitMemory(env []string, root string, buffer int64, log *slog.Logger) {
	if isSet(env, "GOMEMLIMIT") {
		return
	}
	limit := buffer + besideBuffer
	if allowed := cgroup.MemoryLimit(root); allowed > 0 && allowed/100*memoryShare < limit {
		limit = allowed / 100 * memoryShare
		log.Info("the cgroup limits memory", slog.Int64("bytes", allowed), slog.Int64("gomemlimit", limit))
	}
	debug.SetMemoryLimit(limit)
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
