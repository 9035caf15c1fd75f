package testbed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// ErrClosed is returned by operations on a closed [Dir].
var ErrClosed = errors.New("testbed directory is closed")

// watchdog waits for the end of its standard input, which comes when the
// process that holds the other end closes it or dies in whatever way. Then it
// ends the process group it was told of last and removes the directory, again
// where somebody still wrote to it. A parent death signal would not do: it is
// Linux's alone, belongs to the thread that forked, and leaves the directory.
const watchdog = `
signal= group=
while read -r a b; do signal=$a group=$b; done
if [ -n "$group" ]; then
	kill "-$signal" "-$group"
	n=0
	while [ $n -lt 50 ] && kill -s 0 -- "-$group"; do sleep 0.1; n=$((n+1)); done
	kill -s KILL -- "-$group"
fi
n=0
while [ $n -lt 50 ] && [ -e "$1" ]; do
	[ $n -eq 0 ] || sleep 0.1
	rm -rf -- "$1"
	n=$((n+1))
done
`

// Dir is a temporary directory with at most one running process. One that is
// forgotten without a Close ends like one whose program died, once the garbage
// collector has found it.
type Dir struct {
	path string

	mu      sync.Mutex
	process *Process       // the newest one, or nil
	lease   io.WriteCloser // the watchdog's standard input; nil once closed
	dog     *exec.Cmd
	ports   []*Port
}

// NewDir makes a temporary directory whose name starts with prefix. With an
// owner other than nil, the directory belongs to that user, in a place that the
// user can reach. The caller closes it.
func NewDir(prefix string, owner *syscall.Credential) (*Dir, error) {
	base, err := baseDir(owner)
	if err != nil {
		return nil, err
	}
	return NewDirIn(base, prefix, owner)
}

// NewDirIn is [NewDir] within the directory base.
func NewDirIn(base, prefix string, owner *syscall.Credential) (*Dir, error) {
	path, err := os.MkdirTemp(base, prefix)
	if err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	d := &Dir{path: path}
	if err := d.prepare(owner); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return d, nil
}

func (d *Dir) prepare(owner *syscall.Credential) error {
	if owner != nil {
		if err := os.Chown(d.path, int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("give directory to user %d: %w", owner.Uid, err)
		}
	}
	d.dog = exec.Command("/bin/sh", "-c", watchdog, "watchdog", d.path)
	d.dog.Dir = "/"
	// A session of its own: an interrupt from the terminal and a kill of the
	// process group must not take the watchdog along.
	d.dog.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	lease, err := d.dog.StdinPipe()
	if err != nil {
		return fmt.Errorf("make watchdog pipe: %w", err)
	}
	if err := d.dog.Start(); err != nil {
		return fmt.Errorf("start watchdog: %w", err)
	}
	d.lease = lease
	return nil
}

// Path is the absolute path of the directory.
func (d *Dir) Path() string { return d.path }

// Join is a path inside the directory.
func (d *Dir) Join(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Close kills the process if one runs, and removes the directory. It returns
// when both are gone. Idempotent.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lease == nil {
		return nil
	}
	if p := d.process; p != nil {
		p.kill()
		<-p.done
	}
	err := os.RemoveAll(d.path)
	// The end of its input makes the watchdog remove what is left and end.
	err = errors.Join(err, d.lease.Close(), d.dog.Wait())
	for _, p := range d.ports {
		err = errors.Join(err, p.Close())
	}
	d.lease, d.ports = nil, nil
	if err != nil {
		return fmt.Errorf("remove %s: %w", d.path, err)
	}
	return nil
}

// baseDir is the first of the usual temporary directories that owner can reach:
// as root TMPDIR is often one that nobody else may enter.
func baseDir(owner *syscall.Credential) (string, error) {
	candidates := []string{os.TempDir(), "/tmp", "/var/tmp"}
	for _, dir := range candidates {
		abs, err := filepath.Abs(dir)
		if err != nil {
			continue
		}
		if owner == nil || reachable(abs, owner) {
			return abs, nil
		}
	}
	return "", fmt.Errorf("user %d can enter none of %v: set TMPDIR to a directory that it can", owner.Uid, candidates)
}

// reachable tells whether user may enter dir and everything above it.
func reachable(dir string, user *syscall.Credential) bool {
	var stat syscall.Stat_t
	if err := syscall.Stat(dir, &stat); err != nil {
		return false
	}
	enter := uint32(0o001)
	switch {
	case stat.Uid == user.Uid:
		enter = 0o100
	case stat.Gid == user.Gid:
		enter = 0o010
	}
	if uint32(stat.Mode)&enter == 0 { //nolint:unconvert // Mode is 16 bits wide on other systems
		return false
	}
	parent := filepath.Dir(dir)
	return parent == dir || reachable(parent, user)
}
