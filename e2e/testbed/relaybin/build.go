package relaybin

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Variant is a way of building the relay.
type Variant struct {
	// Race builds with the race detector.
	Race bool
	// FaultPoints compiles in the points at which RELAY_FAULTPOINT kills it.
	FaultPoints bool
	// Revision is a commit whose sources are built, with its own dependencies; empty for
	// those that are here.
	Revision string
	// Unobserved builds without metrics and traces of messages, for comparison.
	Unobserved bool
}

// The variants in use.
var (
	// Tested is for all tests but those that measure.
	Tested = Variant{Race: true, FaultPoints: true}
	// Released is what users run.
	Released = Variant{}
	// Unobserved is Released, and sees nothing.
	Unobserved = Variant{Unobserved: true}
)

const importPath = "github.com/outbox-relay/outbox-relay/cmd/outbox-relay"

// binaries are the variants built so far by this process.
var binaries = struct {
	sync.Mutex
	dir   *testbed.Dir
	paths map[Variant]string
}{paths: map[Variant]string{}}

// Build returns the path of the relay's binary, built on first use. Its
// directory goes with the process: nobody closes it, the watchdog removes it.
func Build(ctx context.Context, v Variant) (string, error) {
	binaries.Lock()
	defer binaries.Unlock()
	if path, built := binaries.paths[v]; built {
		return path, nil
	}
	if binaries.dir == nil {
		dir, err := testbed.NewDir("outbox-relay-bin-", nil)
		if err != nil {
			return "", fmt.Errorf("make directory for binaries: %w", err)
		}
		binaries.dir = dir
	}
	path := binaries.dir.Join(v.name())
	args := append([]string{"build", "-o", path}, v.flags()...)
	cmd := exec.CommandContext(ctx, "go", append(args, importPath)...)
	if v.Revision != "" {
		cmd.Dir = binaries.dir.Join("src-" + v.Revision)
		if err := export(ctx, v.Revision, cmd.Dir); err != nil {
			return "", err
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", importPath, err, out)
	}
	binaries.paths[v] = path
	return path, nil
}

// export writes the sources of a commit into a new directory.
func export(ctx context.Context, revision, dir string) error {
	root, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return fmt.Errorf("find the repository: %w", err)
	}
	// The archive of the whole, whatever directory this runs in.
	script := exec.CommandContext(ctx, "sh", "-c", `mkdir "$2" && git -C "$1" archive "$3" | tar -x -C "$2"`, "sh",
		strings.TrimSpace(string(root)), dir, revision)
	if out, err := script.CombinedOutput(); err != nil {
		return fmt.Errorf("export commit %s: %w\n%s", revision, err, out)
	}
	return nil
}

func (v Variant) flags() []string {
	var flags []string
	if v.Race {
		flags = append(flags, "-race")
	}
	if tags := v.tags(); len(tags) > 0 {
		flags = append(flags, "-tags="+strings.Join(tags, ","))
	}
	return flags
}

func (v Variant) tags() (tags []string) {
	if v.FaultPoints {
		tags = append(tags, "faultpoint")
	}
	if v.Unobserved {
		tags = append(tags, "unobserved")
	}
	return tags
}

func (v Variant) name() string {
	name := []string{"outbox-relay"}
	if v.Race {
		name = append(name, "race")
	}
	name = append(name, v.tags()...)
	if v.Revision != "" {
		name = append(name, v.Revision)
	}
	return strings.Join(name, "-")
}
