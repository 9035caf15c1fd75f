package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

const relayPackage = "github.com/outbox-relay/outbox-relay/cmd/outbox-relay"

// relayProcess is the real relay, started again and again in one directory.
type relayProcess struct {
	dir    *testbed.Dir
	binary string
	env    []string
	log    *relayLog

	mu      sync.Mutex
	process *testbed.Process // the newest; nil while it is meant to be dead
}

// newRelayProcess finds or builds the binary. The caller closes it.
func newRelayProcess(ctx context.Context, binary, databaseURL, sinkURL string, more ...string) (*relayProcess, error) {
	dir, err := testbed.NewDir("outbox-demo-", nil)
	if err != nil {
		return nil, err
	}
	r := &relayProcess{dir: dir, env: append([]string{
		"OUTBOX_DATABASE_URL=" + databaseURL,
		"OUTBOX_SINK_URL=" + sinkURL,
		"OUTBOX_LOG_FORMAT=json",
		// Not the usual one, which a relay of the user's may have.
		"OUTBOX_HTTP_ADDR=127.0.0.1:0",
	}, more...)}
	if r.log, err = openRelayLog(dir.Join("relay.log")); err == nil {
		r.binary, err = findRelay(ctx, binary, dir)
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// findRelay returns the absolute path of the binary; without one it is built.
func findRelay(ctx context.Context, binary string, dir *testbed.Dir) (string, error) {
	if binary == "" {
		binary = dir.Join("outbox-relay")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, relayPackage).CombinedOutput(); err != nil {
			return "", fmt.Errorf("build the relay: %w\n%s", err, bytes.TrimSpace(out))
		}
		return binary, nil
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", fmt.Errorf("find the relay's binary: %w; build it with: go build -o %s ./cmd/outbox-relay", err, binary)
	}
	return filepath.Abs(path)
}

// start starts the relay. It does not wait until the relay works.
func (r *relayProcess) start() error {
	cmd := exec.Command(r.binary)
	cmd.Env = r.env
	cmd.Stdout, cmd.Stderr = r.log, r.log
	r.log.setMode("starting")
	process, err := r.dir.Start(cmd, "TERM")
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = process
	return nil
}

// kill ends the relay with SIGKILL and returns when it is gone.
func (r *relayProcess) kill(ctx context.Context) error {
	err := r.take().Stop(ctx, syscall.SIGKILL)
	r.log.setMode("relay is dead")
	return err
}

// stop ends the relay with SIGTERM, as a deployment does, and demands that it
// ends in good order.
func (r *relayProcess) stop(ctx context.Context) error {
	process := r.take()
	if err := process.Stop(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	if err := process.Err(); err != nil {
		return fmt.Errorf("end the relay with SIGTERM: %w", err)
	}
	return nil
}

// take returns the process to one who is going to end it.
func (r *relayProcess) take() *testbed.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	process := r.process
	r.process = nil
	return process
}

// check returns an error if the relay has ended and nobody had ended it.
func (r *relayProcess) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil || r.process.Running() {
		return nil
	}
	return fmt.Errorf("the relay ended by itself: %w", cmp.Or(r.process.Err(), errors.New("exit status 0")))
}

// pid is the process id, 0 while the relay is dead.
func (r *relayProcess) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return 0
	}
	return r.process.Pid()
}

// mode is what the relay last logged, such as "polling".
func (r *relayProcess) mode() string { return r.log.mode() }

// tail is the end of the relay's log.
func (r *relayProcess) tail() string { return testbed.Tail(r.log.file.Name()) }

// close kills the relay if it runs and removes all its files.
func (r *relayProcess) close() error {
	err := r.dir.Close()
	if r.log != nil {
		err = errors.Join(err, r.log.file.Close())
	}
	return err
}

// relayLog keeps the relay's log in a file and reads its mode out of it.
type relayLog struct {
	file *os.File

	mu      sync.Mutex
	current string
	rest    []byte // a line without its end
}

func openRelayLog(path string) (*relayLog, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create the relay's log: %w", err)
	}
	return &relayLog{file: file, current: "starting"}, nil
}

// Write implements [io.Writer].
func (l *relayLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			break
		}
		var entry struct {
			Mode string `json:"mode"`
		}
		// A line that is not JSON, such as a panic, tells no mode.
		if json.Unmarshal(line, &entry) == nil && entry.Mode != "" {
			l.current = entry.Mode
		}
		l.rest = rest
	}
	return l.file.Write(p)
}

func (l *relayLog) mode() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

func (l *relayLog) setMode(mode string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = mode
}
