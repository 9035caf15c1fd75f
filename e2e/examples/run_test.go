package examples

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
)

// programDeadline bounds a program that is to end by itself.
const programDeadline = 2 * time.Minute

// runner runs a program of a page, as often as the test likes.
type runner struct {
	dir     *testbed.Dir
	command []string
	env     []string
	out     transcript.Text
}

// prepare writes the page's files of a language, and builds the program with that main file.
func prepare(t *testing.T, p page, l language, main string, env ...string) *runner {
	t.Helper()
	dir, err := testbed.NewDir("example-", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{dir: dir}
	t.Cleanup(func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s of the page said:\n%s", main, r.out.String())
		}
	})
	p.write(t, l.fence, dir.Path())
	if !exists(dir.Join(main)) {
		t.Fatalf("the page has no file %s in %s", main, l.fence)
	}
	r.command = l.build(t, dir, main)
	r.env = append(env, "PATH="+os.Getenv("PATH"), "HOME="+os.Getenv("HOME"))
	if l.env != nil {
		r.env = append(r.env, l.env(t)...)
	}
	return r
}

// start runs the program until it is killed.
func (r *runner) start(t *testing.T) *testbed.Process {
	t.Helper()
	cmd := exec.Command(r.command[0], r.command[1:]...)
	cmd.Stdout, cmd.Stderr = &r.out, &r.out
	cmd.Env = r.env
	p, err := r.dir.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// finish waits for the end of a program, which has to be a good one.
func finish(t *testing.T, p *testbed.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programDeadline)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// kill ends the program with no chance to say a word.
func kill(t *testing.T, p *testbed.Process) {
	t.Helper()
	if err := p.Stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// databaseEnv has the address of a database in the forms that drivers read.
func databaseEnv(t *testing.T, address string) []string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("user", u.User.Username())
	return []string{
		"DATABASE_URL=" + address, "JDBC_URL=jdbc:postgresql://" + u.Host + u.Path + "?" + query.Encode(),
		"PDO_DSN=pgsql:host=" + u.Hostname() + ";port=" + u.Port() + ";dbname=" + u.Path[1:] + ";user=" + u.User.Username(),
	}
}
