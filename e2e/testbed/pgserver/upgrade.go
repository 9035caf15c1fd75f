package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Upgrade has pg_upgrade make a new cluster of the server, which has to be stopped, and
// starts it, with the programs of [Binaries]. Where the server runs on the same ones, all is
// as for a new major version but the version: the system identifier is another one too. The
// caller closes it.
func (s *Server) Upgrade(ctx context.Context) (*Server, error) {
	bin, err := Binaries()
	if err != nil {
		return nil, err
	}
	upgraded := &Server{owner: s.owner, bin: bin, settings: s.settings}
	fill := func(ctx context.Context) error {
		options, err := upgraded.kindOf(s)
		if err != nil {
			return err
		}
		if err := upgraded.initdb(ctx, options...); err != nil {
			return err
		}
		return upgraded.upgradeFrom(ctx, s)
	}
	if err := upgraded.create(ctx, fill, nil); err != nil {
		return nil, fmt.Errorf("upgrade PostgreSQL: %w", err)
	}
	return upgraded, nil
}

// kindOf are the options of initdb for a cluster of the old one's kind: since version 18 its
// default is to have checksums.
func (s *Server) kindOf(old *Server) ([]string, error) {
	said, err := s.output(old.own("pg_controldata", old.data()))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(said) {
		if name, value, _ := strings.Cut(line, ":"); name == "Data page checksum version" && strings.TrimSpace(value) != "0" {
			return nil, nil
		}
	}
	help, err := s.output(s.own("initdb", "--help"))
	if err != nil || !strings.Contains(help, "--no-data-checksums") {
		return nil, err
	}
	return []string{"--no-data-checksums"}, nil
}

// output is what a short command prints.
func (s *Server) output(cmd *exec.Cmd) (string, error) {
	cmd.Dir = s.dir.Path() // the server's user may not be able to be where the tests are
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	return string(out), nil
}

func (s *Server) upgradeFrom(ctx context.Context, old *Server) error {
	port, err := testbed.ReservePort(ctx)
	if err != nil {
		return err
	}
	defer port.Close()
	number := fmt.Sprint(port.Number)
	cmd := s.own("pg_upgrade", "--username="+Superuser, "--old-bindir="+old.bin, "--new-bindir="+s.bin,
		"--old-datadir="+old.data(), "--new-datadir="+s.data(), "--socketdir="+s.dir.Path(), "--old-port="+number, "--new-port="+number)
	cmd.Dir = s.dir.Path() // before version 15 its logs go there
	return s.dir.Run(ctx, cmd)
}

// OlderBinaries is the directory of the programs of an older major version, from which
// [Server.Upgrade] can go: the environment variable PGSERVER_OLD_BIN. Without it the error
// wraps [ErrNoBinaries].
func OlderBinaries() (string, error) {
	dir := os.Getenv("PGSERVER_OLD_BIN")
	if dir == "" {
		return "", fmt.Errorf("%w of an older version: set PGSERVER_OLD_BIN to the directory of its initdb and postgres, or run .ci/matrix upgrade", ErrNoBinaries)
	}
	if err := complete(dir); err != nil {
		return "", fmt.Errorf("PGSERVER_OLD_BIN=%s: %w", dir, err)
	}
	return dir, nil
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
