package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/outbox-relay/outbox-relay/e2e/pgserver"
)

// ensurePostgreSQL makes sure that PostgreSQL's server programs are there: as
// root on a Debian machine it installs them, else its error says what to run.
func ensurePostgreSQL(ctx context.Context, p *progress) error {
	_, err := pgserver.Binaries()
	switch {
	case !errors.Is(err, pgserver.ErrNoBinaries), os.Getenv("PGSERVER_BIN") != "":
		return err
	case !mayInstall():
		return fmt.Errorf("%w (on a fresh machine, before it: apt-get update)", err)
	}
	for _, command := range []string{"apt-get update", pgserver.Install} {
		p.step("PostgreSQL is not installed; running %s", command)
		words := strings.Fields(command)
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("run %s: %w\n%s", command, err, strings.TrimSpace(string(out)))
		}
	}
	_, err = pgserver.Binaries()
	return err
}

func mayInstall() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil && os.Geteuid() == 0
}
