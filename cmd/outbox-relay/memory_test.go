package main

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

// limitedRoot is the root of a file system in which the cgroup has a limit.
func limitedRoot(t *testing.T, limit string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": limit + "\n"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestGarbageCollectorKnowsHowMuchMemoryThereIs(t *testing.T) {
	const before = math.MaxInt64 // as Go has it without a limit
	large := config.Flow{BufferBytes: 2_000_000_000, MaxInFlight: 1000}
	const forLarge = 3_500_000_000 + 1000*rowMemory
	standard := config.Flow{BufferBytes: 64 << 20, MaxInFlight: 4096}
	for _, c := range []struct {
		name  string
		env   []string
		flow  config.Flow
		limit string
		want  int64
		told  bool
	}{
		{"the cgroup allows less than the buffer", []string{"OUTBOX_TABLE=x"}, large, "1000000000", 900_000_000, true},
		{"the cgroup allows more", nil, large, "4000000000", forLarge, false},
		{"no limit", nil, large, "max", forLarge, false},
		{"the standard settings", nil, standard, "max", leastMemory, false},
		{"the user's own wins", []string{"GOMEMLIMIT=100MiB"}, large, "1000000000", before, false},
		{"an empty one is none", []string{"GOMEMLIMIT="}, large, "1000000000", 900_000_000, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(before))
			var log bytes.Buffer
			restore := limitMemory(c.env, limitedRoot(t, c.limit), c.flow, slog.New(slog.NewTextHandler(&log, nil)))
			if got := debug.SetMemoryLimit(-1); got != c.want {
				t.Errorf("the memory limit is %d, want %d", got, c.want)
			}
			if restore(); debug.SetMemoryLimit(-1) != before {
				t.Error("the limit is not taken back")
			}
			if told := strings.Contains(log.String(), "gomemlimit=900000000"); told != c.told {
				t.Errorf("the log says:\n%s", log.String())
			}
		})
	}
}
