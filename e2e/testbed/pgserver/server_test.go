package pgserver_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
)

func start(t *testing.T, o pgserver.Options) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func ask(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// TestServerFromStartToClose shares one cluster between what leaves it running.
func TestServerFromStartToClose(t *testing.T) {
	out := &transcript.Text{}
	s := start(t, pgserver.Options{Log: out, Settings: map[string]string{
		"work_mem":        "7MB",
		"cluster_name":    `it's \ 1`,
		"max_wal_senders": "3",
	}})
	conn := connect(t, s.URL("postgres"))
	dir := filepath.Dir(ask(t, conn, "SHOW data_directory"))

	t.Run("settings are ours or the caller's", func(t *testing.T) {
		for setting, want := range map[string]string{
			"wal_level":          "logical",
			"fsync":              "off",
			"synchronous_commit": "on",
			"server_encoding":    "UTF8",
			"lc_collate":         "C.UTF-8",
			"work_mem":           "7MB",
			"cluster_name":       `it's \ 1`,
			"max_wal_senders":    "3",
		} {
			if got := ask(t, conn, "SHOW "+setting); got != want {
				t.Errorf("%s is %q, want %q", setting, got, want)
			}
		}
	})
	t.Run("a URL names any role and database", func(t *testing.T) {
		run(t, conn, `CREATE ROLE "the relay" LOGIN`)
		run(t, conn, `CREATE DATABASE "a/b c"`)
		own := connect(t, s.URLAs("the relay", "p@ss/word", "a/b c"))
		if got := ask(t, own, "SELECT current_user || ' in ' || current_database()"); got != "the relay in a/b c" {
			t.Errorf("connected as %q", got)
		}
	})
	t.Run("close leaves no file", func(t *testing.T) {
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s after close: %v, want it gone", dir, err)
		}
		if !strings.Contains(out.String(), "ready to accept connections") {
			t.Errorf("the server's log was not passed on: %q", out)
		}
	})
}

func TestDataAndPortSurviveEveryStop(t *testing.T) {
	s := start(t, pgserver.Options{})
	port := s.Port()
	run(t, connect(t, s.URL("postgres")), "CREATE TABLE kept (name text)")
	stop := func() error { return s.Stop(t.Context()) }
	for _, end := range []struct {
		name string
		end  func() error
	}{{"kill", s.Kill}, {"stop", stop}} {
		run(t, connect(t, s.URL("postgres")), "INSERT INTO kept VALUES ('"+end.name+"')")
		if err := s.Restart(t.Context()); !errors.Is(err, testbed.ErrRunning) {
			t.Errorf("restart of a running server: %v, want ErrRunning", err)
		}
		for range 2 { // of a server that has ended, it is none
			if err := end.end(); err != nil {
				t.Fatalf("%s: %v", end.name, err)
			}
		}
		if _, err := pgx.Connect(t.Context(), s.URL("postgres")); err == nil {
			t.Fatalf("a server answers after %s", end.name)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := ask(t, connect(t, s.URL("postgres")), "SELECT string_agg(name, ' ') FROM kept")
	if got != "kill stop" {
		t.Errorf("afterwards the table holds %q", got)
	}
	if s.Port() != port {
		t.Errorf("port %d became %d", port, s.Port())
	}
}

func TestFailedStartTellsWhyAndLeavesNoFile(t *testing.T) {
	tmp := t.TempDir()
	if err := os.Chmod(filepath.Dir(tmp), 0o755); err != nil { // the server's user goes there
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	_, err := pgserver.Start(t.Context(), pgserver.Options{Settings: map[string]string{"wal_level": "sideways"}})
	if err == nil || !strings.Contains(err.Error(), `"sideways"`) {
		t.Errorf("start with a wrong setting: %v, want the server's complaint", err)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
