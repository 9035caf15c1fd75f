package rabbitserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// place is where RabbitMQ is installed: on this machine, or in a folder that holds a
// whole system, such as another release of Debian with another RabbitMQ.
type place struct {
	root string // that folder; empty: this machine itself
	bin  string // the directory of the programs, as they see it
}

// findPlace looks for it as [Binaries] says.
func findPlace() (place, error) {
	root := os.Getenv("RABBITSERVER_ROOT")
	if root == "" {
		bin, err := ownBinaries()
		return place{bin: bin}, err
	}
	if !filepath.IsAbs(root) || !complete(filepath.Join(root, debianDir)) {
		return place{}, fmt.Errorf("RABBITSERVER_ROOT=%s: set it to the absolute path of a system with the Debian package rabbitmq-server; "+
			".ci/rabbitmq4 makes one", root)
	}
	if os.Geteuid() != 0 {
		return place{}, fmt.Errorf("RABBITSERVER_ROOT=%s: only root can enter it (chroot): run as root", root)
	}
	return place{root: filepath.Clean(root), bin: debianDir}, nil
}

// enter gives the programs a /proc, in which Erlang reads how much memory there is,
// and their working directory. The mount is theirs alone and goes with them. All is
// exec, so that the process that was started becomes the program.
const enter = `mount -t proc proc "$0/proc" && exec chroot "$0" sh -c 'cd "$0" && exec "$@"' "$@"`

// command makes a command that runs at the place, in a directory of [place.newDir],
// until ctx ends.
func (p place) command(ctx context.Context, dir *testbed.Dir, program string, args ...string) *exec.Cmd {
	if p.root != "" {
		args = append([]string{"--mount", "sh", "-c", enter, p.root, p.inside(dir.Path()), program}, args...)
		program = "unshare"
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir.Path()
	return cmd
}

// newDir makes a directory that the programs can see.
func (p place) newDir(prefix string) (*testbed.Dir, error) {
	if p.root == "" {
		return testbed.NewDir(prefix, nil)
	}
	return testbed.NewDirIn(filepath.Join(p.root, "tmp"), prefix, nil)
}

// inside is a path of such a directory as the programs see it.
func (p place) inside(path string) string { return strings.TrimPrefix(path, p.root) }

// portMapper finds epmd, as the programs see it: in PATH, or within Erlang's own
// directory.
func (p place) portMapper() (string, error) {
	if p.root == "" {
		if path, err := exec.LookPath("epmd"); err == nil {
			return path, nil
		}
	}
	found, err := filepath.Glob(filepath.Join(p.root, "/usr/lib/erlang/erts-*/bin/epmd"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%w: Erlang's epmd is missing: run as root: %s", ErrNoBinaries, Install)
	}
	return p.inside(found[len(found)-1]), nil
}
