// Package cgroup reads what Linux lets the process use: the limits of a container, a pod
// or a unit of systemd.
package cgroup

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hierarchy is where a version of cgroups has its directories, below the root of the file
// system, and which file has the limit.
type hierarchy struct{ mount, file string }

var (
	version1 = hierarchy{"sys/fs/cgroup/memory", "memory.limit_in_bytes"}
	version2 = hierarchy{"sys/fs/cgroup", "memory.max"}
)

// unlimited is a limit that is none: version 1 writes the largest number of pages.
const unlimited = 1 << 60

// MemoryLimit returns how many bytes of memory the process and its neighbours in its
// cgroup may use together: the least limit of the cgroup and of those above it. It
// returns 0 if there is none, or if nothing can be read, as on other systems than Linux.
// root is the root of the file system.
func MemoryLimit(root string) int64 {
	membership, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	var least int64
	for line := range strings.Lines(string(membership)) {
		// A number, the controllers, and the path of the cgroup.
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch {
		case fields[1] == "":
			least = lesser(least, version2.limit(root, fields[2]))
		case slices.Contains(strings.Split(fields[1], ","), "memory"):
			least = lesser(least, version1.limit(root, fields[2]))
		}
	}
	return least
}

// limit is the least limit from a cgroup up to the mount. A container may see the path
// that the cgroup has on the host, of which only the mount exists in the container.
func (h hierarchy) limit(root, cgroup string) int64 {
	var least int64
	for dir := path.Clean("/" + cgroup); ; dir = path.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(root, h.mount, dir, h.file))
		if err == nil {
			least = lesser(least, parse(string(text)))
		}
		if dir == "/" {
			return least
		}
	}
}

// parse reads a limit. The text "max", and what is no limit, become 0.
func parse(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 || n >= unlimited {
		return 0
	}
	return n
}

// lesser returns the lesser of two limits. Zero is none.
func lesser(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
