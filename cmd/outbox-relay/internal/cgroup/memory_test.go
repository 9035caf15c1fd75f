package cgroup_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/cgroup"
)

func TestMemoryLimitIsTheLeastOnTheWayUp(t *testing.T) {
	const membership = "proc/self/cgroup"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{name: "no Linux"},
		{name: "a container with its own view", want: 268435456, files: map[string]string{
			membership:                 "0::/\n",
			"sys/fs/cgroup/memory.max": "268435456\n",
		}},
		{name: "a container that sees the host's path", want: 1000, files: map[string]string{
			membership:                 "0::/kubepods/pod1/abc\n",
			"sys/fs/cgroup/memory.max": "1000\n",
		}},
		{name: "a unit of systemd without a limit", files: map[string]string{
			membership: "0::/system.slice/outbox-relay.service\n",
			"sys/fs/cgroup/system.slice/outbox-relay.service/memory.max": "max\n",
		}},
		{name: "the slice has less than the unit", want: 500, files: map[string]string{
			membership: "0::/system.slice/outbox-relay.service\n",
			"sys/fs/cgroup/system.slice/outbox-relay.service/memory.max": "700\n",
			"sys/fs/cgroup/system.slice/memory.max":                      "500\n",
		}},
		{name: "the unit has less than the slice", want: 700, files: map[string]string{
			membership: "0::/system.slice/outbox-relay.service\n",
			"sys/fs/cgroup/system.slice/outbox-relay.service/memory.max": "700\n",
			"sys/fs/cgroup/system.slice/memory.max":                      "900\n",
		}},
		{name: "version 1", want: 300, files: map[string]string{
			membership: "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/\n0::/\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "300\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":            "9223372036854771712\n",
		}},
		{name: "version 1 in a container", want: 400, files: map[string]string{
			membership: "4:hugetlb,memory:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "400\n",
		}},
		{name: "version 1 without a limit", files: map[string]string{
			membership: "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}},
		{name: "nonsense", files: map[string]string{
			membership:                 "what\n0::/../..\n",
			"sys/fs/cgroup/memory.max": "-5 lots\n",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range c.files {
				file := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := cgroup.MemoryLimit(root); got != c.want {
				t.Errorf("the limit is %d, want %d", got, c.want)
			}
		})
	}
}
