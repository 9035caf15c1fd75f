package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// relayProcess is the real relay, started again and again in one directory.
type relayProcess struct {
	*testbed.Service
	mode      *mode
	meantDead atomic.Bool // it is meant to be dead
}

// startRelay starts the relay, with a binary that is built if none is named. It does
// not wait until the relay works. The caller closes it.
func startRelay(ctx context.Context, binary, databaseURL, sinkURL string, more ...string) (*relayProcess, error) {
	binary, err := findRelay(ctx, binary)
	if err != nil {
		return nil, err
	}
	dir, err := testbed.NewDir("outbox-demo-", nil)
	if err != nil {
		return nil, err
	}
	env := append([]string{
		"OUTBOX_DATABASE_URL=" + databaseURL,
		"OUTBOX_SINK_URL=" + sinkURL,
		"OUTBOX_LOG_FORMAT=json",
		// Not the usual one, which a relay of the user's may have.
		"OUTBOX_HTTP_ADDR=127.0.0.1:0",
	}, more...)
	r := &relayProcess{mode: &mode{}}
	r.Service, err = testbed.Start(ctx, testbed.Spec{Name: "the relay", Dir: dir, Output: r.mode, Command: func() (*exec.Cmd, error) {
		r.mode.set("starting")
		cmd := exec.Command(binary)
		cmd.Env = env
		return cmd, nil
	}})
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return r, nil
}

// findRelay returns the absolute path of the binary; without one it is built.
func findRelay(ctx context.Context, binary string) (string, error) {
	if binary == "" {
		return relaybin.Build(ctx, relaybin.Released)
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", fmt.Errorf("find the relay's binary: %w; build it with: go build -o %s ./cmd/outbox-relay", err, binary)
	}
	return filepath.Abs(path)
}

// kill ends the relay with SIGKILL and returns when it is gone.
func (r *relayProcess) kill() error {
	r.meantDead.Store(true)
	err := r.Kill()
	r.mode.set("relay is dead")
	return err
}

// restart starts a relay that was killed.
func (r *relayProcess) restart(ctx context.Context) error {
	defer r.meantDead.Store(false)
	return r.Restart(ctx)
}

// stop ends the relay with SIGTERM, as a deployment does, and demands that it
// ends in good order.
func (r *relayProcess) stop(ctx context.Context) error {
	r.meantDead.Store(true)
	if err := r.Stop(ctx); err != nil {
		return err
	}
	if err := r.Process().Err(); err != nil {
		return fmt.Errorf("end the relay with SIGTERM: %w", err)
	}
	return nil
}

// check returns an error if the relay has ended and nobody had ended it.
func (r *relayProcess) check() error {
	process := r.Process()
	// In this order: what was seen to end may have been killed, and replaced, meanwhile.
	if !process.Running() && !r.meantDead.Load() && process == r.Process() {
		return fmt.Errorf("the relay ended by itself: %w", cmp.Or(process.Err(), errors.New("exit status 0")))
	}
	return nil
}

// mode is the relay's mode, such as "polling", read out of its log. Safe for
// concurrent use.
type mode struct {
	mu      sync.Mutex
	current string
	rest    []byte // a line without its end
}

// Write implements [io.Writer] for the relay's log.
func (m *mode) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rest = append(m.rest, p...)
	for {
		line, rest, whole := bytes.Cut(m.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		var entry struct {
			Mode string `json:"mode"`
		}
		// A line that is not JSON, such as a panic, tells no mode.
		if json.Unmarshal(line, &entry) == nil && entry.Mode != "" {
			m.current = entry.Mode
		}
		m.rest = rest
	}
}

func (m *mode) get() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

func (m *mode) set(current string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = current
}
