package pgserver

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// ErrNoBinaries: PostgreSQL's server programs are not on this machine.
var ErrNoBinaries = errors.New("no PostgreSQL server programs found")

// Install is the command that brings the server programs to a Debian machine.
const Install = "apt-get install --yes --no-install-recommends postgresql"

var programs = []string{"initdb", "postgres", "pg_ctl"}

// Binaries returns the directory that holds initdb, postgres and pg_ctl: the
// environment variable PGSERVER_BIN, or else the one found through PATH, or else
// the newest version of a Debian package. Without any, the error wraps
// [ErrNoBinaries] and says what to run.
func Binaries() (string, error) {
	if dir := os.Getenv("PGSERVER_BIN"); dir != "" {
		if err := complete(dir); err != nil {
			return "", fmt.Errorf("%w: PGSERVER_BIN=%s: %w; set it to the directory of initdb and postgres", ErrNoBinaries, dir, err)
		}
		return dir, nil
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// The server finds its share directory beside the real file.
		if file, err := filepath.EvalSymlinks(initdb); err == nil && complete(filepath.Dir(file)) == nil {
			return filepath.Dir(file), nil
		}
	}
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", fmt.Errorf("list PostgreSQL versions: %w", err)
	}
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	for _, dir := range dirs {
		if complete(dir) == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w in PGSERVER_BIN, PATH or /usr/lib/postgresql: run as root: %s", ErrNoBinaries, Install)
}

// Psql returns the path of psql: beside the server programs, or else the one found
// through PATH, since there are packages of servers without clients. Without any,
// the error wraps [ErrNoBinaries].
func Psql() (string, error) {
	bin, err := Binaries()
	if err != nil {
		return "", err
	}
	for _, name := range []string{filepath.Join(bin, "psql"), "psql"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: psql is neither in %s nor in the PATH: run as root: apt-get install --yes postgresql-client", ErrNoBinaries, bin)
}

// complete tells which program is missing in dir.
func complete(dir string) error {
	for _, name := range programs {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
	}
	return nil
}

// version is the number in /usr/lib/postgresql/<number>/bin, or 0.
func version(dir string) float64 {
	v, err := strconv.ParseFloat(filepath.Base(filepath.Dir(dir)), 64)
	if err != nil {
		return 0
	}
	return v
}
