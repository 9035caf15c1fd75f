package main

import (
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/cgroup"
	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

// memoryShare of the cgroup's limit, in percent, is for what Go's runtime manages. The
// rest is for what it does not count, such as the kernel's buffers of the connections.
const memoryShare = 90

const (
	// leastMemory is a limit below which the collector would have to work too hard for a
	// relay with the standard settings, in bytes.
	leastMemory = 120 << 20
	// rowMemory is what a row in flight needs beside its payload, in bytes.
	rowMemory = 1 << 10
)

// limitMemory tells the garbage collector near how many bytes to work harder, and returns a
// function that takes it back. Otherwise garbage may take as much memory again as the rows that
// are read ahead, and in a cgroup that allows less the kernel would kill a relay for garbage
// that nobody needs. root is the root of the file system. The variables of Go's runtime win.
func limitMemory(env []string, root string, c config.Flow, log *slog.Logger) (restore func()) {
	if isSet(env, "GOMEMLIMIT") {
		return func() {}
	}
	// The rows that are read ahead, half as many by a survey, and a quarter outside of the window.
	buffer := int64(c.BufferBytes)
	limit := max(leastMemory, buffer+buffer/2+buffer/4+int64(c.MaxInFlight)*rowMemory)
	if allowed := cgroup.MemoryLimit(root); allowed > 0 && allowed/100*memoryShare < limit {
		limit = allowed / 100 * memoryShare
		log.Info("the cgroup limits memory", slog.Int64("bytes", allowed), slog.Int64("gomemlimit", limit))
	}
	before := debug.SetMemoryLimit(limit)
	return func() { debug.SetMemoryLimit(before) }
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
