package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// fence finds the fenced blocks of a page: the info string and the text.
var fence = regexp.MustCompile("(?ms)^```([^\n`]*)\n(.*?)^```$")

// session is the runnable blocks of a page, in their order. A page is one session
// of a shell, because a reader goes through it from top to bottom.
type session struct {
	page    string
	script  string
	printed []string // what the page says that it prints
}

// sessionOf reads a page's runnable blocks ("sh run") and what they print ("text
// printed").
func sessionOf(t *testing.T, page string) session {
	t.Helper()
	s := session{page: page}
	text := read(t, page)
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		info, body := text[at[2]:at[3]], text[at[4]:at[5]]
		switch info {
		case "sh run":
			line := 1 + strings.Count(text[:at[0]], "\n")
			s.script += fmt.Sprintf("echo '--- %s, line %d' >&2\n%s\n", page, line, body)
		case "text printed":
			s.printed = append(s.printed, strings.Split(strings.TrimSpace(body), "\n")...)
		}
	}
	return s
}

// TestRunnableCommandsOfTheDocsRun runs what the pages mark as runnable, each page
// on a database and a broker of its own: RabbitMQ for the pages of RabbitMQ, else NATS.
func TestRunnableCommandsOfTheDocsRun(t *testing.T) {
	ran := 0
	for _, page := range files(t, ".md") {
		s := sessionOf(t, page)
		if s.script == "" {
			continue
		}
		ran++
		t.Run(strings.ReplaceAll(page, "/", "_"), func(t *testing.T) {
			t.Parallel()
			out, err := s.run(t)
			t.Log(out)
			if err != nil {
				t.Fatalf("the commands of %s failed: %v", page, err)
			}
			for _, line := range s.printed {
				for part := range strings.SplitSeq(line, "…") {
					if part = strings.TrimSpace(part); !strings.Contains(out, part) {
						t.Errorf("%s says that its commands print %q, which they did not", page, part)
					}
				}
			}
		})
	}
	if ran == 0 {
		t.Error("no page has a runnable block")
	}
}

// sessionDeadline bounds a page's commands, which wait for messages and would wait
// for ever for one that does not come. On a busy machine they take two minutes.
const sessionDeadline = 5 * time.Minute

// ending runs the script, stops what it has left in the background, and ends with
// the script's status.
const ending = `sh -eu "$0"; status=$?; trap '' TERM; kill -s TERM 0; exit $status`

// run runs the session in an environment that has only what the docs tell of.
func (s session) run(t *testing.T) (string, error) {
	t.Helper()
	dir, err := testbed.NewDir("docs-", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	})
	script := dir.Join("session.sh")
	if err := os.WriteFile(script, []byte(s.script), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", ending, script)
	cmd.Stdout, cmd.Stderr = &out, &out
	if cmd.Dir, err = filepath.Abs(root); err != nil { // a checkout, in which the reader is
		t.Fatal(err)
	}
	cmd.Env = append(goCaches(t),
		"PATH="+programs(t, dir)+":"+os.Getenv("PATH"),
		"HOME="+dir.Path(),
		"OUTBOX_DATABASE_URL="+pgtest.Database(t),
		"OUTBOX_SINK_URL="+broker(t, s.page),
		"OUTBOX_HTTP_ADDR="+freeAddress(t),
	)
	s.compile(t)
	ctx, cancel := context.WithTimeout(t.Context(), sessionDeadline)
	defer cancel()
	process, err := dir.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	err = process.Wait(ctx)
	return out.String(), err
}

// goRun finds the programs that a session runs from their source.
var goRun = regexp.MustCompile(`\bgo run -C (\S+) \.`)

// compile has the go command keep what it builds for the session: compiling is slow on a
// busy machine, and none of the session's own work.
func (s session) compile(t *testing.T) {
	t.Helper()
	for _, run := range goRun.FindAllStringSubmatch(s.script, -1) {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, ".")
		cmd.Dir = filepath.Join(root, run[1])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", run[1], err, out)
		}
	}
}

// broker starts the page's broker and returns its URL.
func broker(t *testing.T, page string) string {
	t.Helper()
	var server interface {
		URL() string
		Close() error
	}
	var err error
	if strings.HasSuffix(page, "rabbitmq.md") {
		server, err = rabbitserver.Start(t.Context(), rabbitserver.Options{})
	} else {
		server, err = natsserver.StartInProcess(t.Context(), natsserver.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.URL()
}

// goCaches has the go command find what it has built and downloaded, which is below
// the home directory that the session does not have.
func goCaches(t *testing.T) []string {
	t.Helper()
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOFLAGS", "GOTOOLCHAIN"} {
		value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatalf("go env %s: %v", name, err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}

// freeAddress is an address that nobody listens on, for the relay's HTTP.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := testbed.ReservePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := port.Close(); err != nil {
			t.Error(err)
		}
	})
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port.Number))
}

// programs makes a directory of the programs that the docs take for granted, and
// returns its path.
func programs(t *testing.T, dir *testbed.Dir) string {
	t.Helper()
	bin := dir.Join("bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	relay, err := relaybin.Build(t.Context(), relaybin.Released)
	if err != nil {
		t.Fatal(err)
	}
	psql, err := pgserver.Psql()
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"outbox-relay": relay, "psql": psql, "nats": natsCommand(t)}
	for name, path := range paths {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// natsCommand is the path of the command line of NATS: the one that is installed,
// or one that the go command builds and keeps. It is pinned in a module of its own,
// as the linters are. Compiling takes a minute or two on a machine that never did.
func natsCommand(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("nats"); err == nil {
		return path
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-n", "-modfile=.tools/nats/go.mod", "nats")
	cmd.Dir = root
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	path, err := cmd.Output()
	if err != nil {
		t.Fatalf("build the command line of NATS: %v\n%s", err, complaint.String())
	}
	return strings.TrimSpace(string(path))
}
