package pgserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
)

func TestBinariesAreFoundWithoutAVariable(t *testing.T) {
	t.Setenv("PGSERVER_BIN", "")
	dir, err := pgserver.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres")); err != nil {
		t.Error(err)
	}
}

func TestBinariesInPathComeBeforeDebians(t *testing.T) {
	t.Setenv("PGSERVER_BIN", "")
	own := programs(t, "initdb", "postgres", "pg_ctl")
	t.Setenv("PATH", own)
	if dir, err := pgserver.Binaries(); err != nil || dir != own {
		t.Errorf("found %q, %v, want %q", dir, err, own)
	}
}

func TestVariableNamesTheDirectory(t *testing.T) {
	own := programs(t, "initdb", "postgres", "pg_ctl")
	t.Setenv("PGSERVER_BIN", own)
	if dir, err := pgserver.Binaries(); err != nil || dir != own {
		t.Errorf("found %q, %v, want %q", dir, err, own)
	}
}

func TestIncompleteDirectoryIsAnErrorThatNamesTheProgram(t *testing.T) {
	own := programs(t, "initdb")
	t.Setenv("PGSERVER_BIN", own)
	_, err := pgserver.Binaries()
	if !errors.Is(err, pgserver.ErrNoBinaries) || !strings.Contains(err.Error(), own) || !strings.Contains(err.Error(), "postgres") {
		t.Errorf("error %v", err)
	}
}

// programs is a directory with executable files of these names.
func programs(t *testing.T, names ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
