package pgserver

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Upgrade has pg_upgrade make a new cluster of the server, which has to be stopped, and
// starts it: with the same programs, as for a new major version, and so with another system
// identifier. The caller closes it.
func (s *Server) Upgrade(ctx context.Context) (*Server, error) {
	upgraded := &Server{owner: s.owner, bin: s.bin, settings: s.settings}
	fill := func(ctx context.Context) error {
		if err := upgraded.initdb(ctx); err != nil {
			return err
		}
		return upgraded.upgradeFrom(ctx, s)
	}
	if err := upgraded.create(ctx, fill, nil); err != nil {
		return nil, fmt.Errorf("upgrade PostgreSQL: %w", err)
	}
	return upgraded, nil
}

func (s *Server) upgradeFrom(ctx context.Context, old *Server) error {
	port, err := testbed.ReservePort(ctx)
	if err != nil {
		return err
	}
	defer port.Close()
	number := fmt.Sprint(port.Number)
	cmd := s.own("pg_upgrade", "--username="+Superuser, "--old-bindir="+s.bin, "--new-bindir="+s.bin,
		"--old-datadir="+old.data(), "--new-datadir="+s.data(), "--socketdir="+s.dir.Path(), "--old-port="+number, "--new-port="+number)
	cmd.Dir = s.dir.Path() // before version 15 its logs go there
	return s.dir.Run(ctx, cmd)
}

// Program is the path of one of PostgreSQL's programs; an error wraps [ErrNoBinaries] where
// only those of the server are installed.
func Program(name string) (string, error) {
	bin, err := Binaries()
	if err != nil {
		return "", err
	}
	path := filepath.Join(bin, name)
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoBinaries, err)
	}
	return path, nil
}
