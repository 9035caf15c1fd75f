package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// program is a server that the demonstration does not bring along.
type program struct {
	name    string
	find    func() (string, error)
	missing error  // what find wraps where it is not installed
	chosen  string // the variable with which somebody has said where it is
	install string
}

var (
	postgreSQL = program{"PostgreSQL", pgserver.Binaries, pgserver.ErrNoBinaries, "PGSERVER_BIN", pgserver.Install}
	rabbitMQ   = program{"RabbitMQ", rabbitserver.Binaries, rabbitserver.ErrNoBinaries, "RABBITSERVER_BIN", rabbitserver.Install}
)

// ensureServers makes sure of the programs that a demonstration with that sink
// needs.
func ensureServers(ctx context.Context, sink string, p *progress) error {
	if err := postgreSQL.ensure(ctx, p); err != nil {
		return err
	}
	if sink == sinkRabbitMQ {
		return rabbitMQ.ensure(ctx, p)
	}
	return nil
}

// ensure installs the program as root on a Debian machine; else its error says
// what to run.
func (s program) ensure(ctx context.Context, p *progress) error {
	_, err := s.find()
	switch {
	case !errors.Is(err, s.missing), os.Getenv(s.chosen) != "":
		return err
	case !mayInstall():
		return fmt.Errorf("%w (on a fresh machine, before it: apt-get update)", err)
	}
	for _, command := range []string{"apt-get update", s.install} {
		p.step("%s is not installed; running %s", s.name, command)
		words := strings.Fields(command)
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("run %s: %w\n%s", command, err, strings.TrimSpace(string(out)))
		}
	}
	_, err = s.find()
	return err
}

func mayInstall() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil && os.Geteuid() == 0
}
