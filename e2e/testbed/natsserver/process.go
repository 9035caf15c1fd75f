package natsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Process is a NATS server in a process of its own.
type Process struct {
	*testbed.Service
	site
}

// StartProcess starts the real server program and returns when it accepts
// connections. The program is built from the module at the first use, which
// needs the go command. ctx means nothing afterwards. The caller closes the
// server.
func StartProcess(ctx context.Context, o Options) (*Process, error) {
	p := &Process{}
	if err := p.prepare(ctx, o, p.start); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Process) start(ctx context.Context) error {
	path, err := binary()
	if err != nil {
		return err
	}
	p.Service, err = testbed.Start(ctx, testbed.Spec{
		Name: "NATS server", Dir: p.dir, Ready: p.ask,
		Command: func() (*exec.Cmd, error) {
			return exec.Command(path, "-c", p.configFile(), "-sd", p.store, "--ports_file_dir", p.dir.Path()), nil
		},
	})
	return err
}

// ask looks for the file that the server writes when it listens. It needs neither
// credentials nor certificates, and its name carries the process id, so another
// server on the port is not taken for ours.
func (p *Process) ask(_ context.Context, pid int) error {
	text, err := os.ReadFile(p.dir.Join(fmt.Sprintf("%s_%d.ports", program, pid)))
	if err != nil {
		return fmt.Errorf("see whether it listens: %w", err)
	}
	if !json.Valid(text) { // written in place: it is not whole yet
		return errors.New("it does not listen on all its ports yet")
	}
	return nil
}
