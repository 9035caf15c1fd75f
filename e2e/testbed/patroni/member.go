package patroni

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
)

//go:embed patroni.yml
var configText string

var configTemplate = template.Must(template.New("patroni.yml").Option("missingkey=error").Parse(configText))

// Member is a PostgreSQL with the Patroni that runs it. The Service is that Patroni.
type Member struct {
	*testbed.Service
	Name    string
	cluster *Cluster
	dir     *testbed.Dir
	port    int // of PostgreSQL
	rest    int // of Patroni's REST API
}

func startMember(ctx context.Context, c *Cluster, name string) (*Member, error) {
	m := &Member{Name: name, cluster: c}
	var err error
	if m.dir, err = testbed.NewDir("patroni-"+name+"-", c.owner); err != nil {
		return nil, err
	}
	m.Service, err = testbed.Start(ctx, testbed.Spec{
		Name: "Patroni " + name, Dir: m.dir, Ports: 2,
		Prepare: func(_ context.Context, ports []int) error {
			m.port, m.rest = ports[0], ports[1]
			return m.configure()
		},
		Command: func() (*exec.Cmd, error) {
			return own(exec.Command("patroni", m.config()), c.owner, m.dir.Path()), nil
		},
	})
	if err != nil {
		return nil, errors.Join(err, m.killServer(syscall.SIGKILL), m.dir.Close())
	}
	return m, nil
}

func (m *Member) configure() error {
	f, err := os.OpenFile(m.config(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("configure Patroni: %w", err)
	}
	err = configTemplate.Execute(f, map[string]any{
		"Scope": Scope, "Name": m.Name, "TTL": TTL, "LoopWait": loopWait,
		"REST": loopback(m.rest), "Etcd": loopback(m.cluster.store.client), "Address": m.addr(),
		"Dir": m.dir.Path(), "Data": m.data(), "Bin": m.cluster.bin, "Superuser": pgserver.Superuser,
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("configure Patroni: %w", err)
	}
	return nil
}

func (m *Member) config() string { return m.dir.Join("patroni.yml") }
func (m *Member) data() string   { return m.dir.Join("data") }
func (m *Member) addr() string   { return loopback(m.port) }

// URL is the superuser's URL of a database on this member, whatever its role.
func (m *Member) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(pgserver.Superuser), Host: m.addr(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// is asks Patroni whether the member has a role, as load balancers do.
func (m *Member) is(ctx context.Context, role string) bool {
	status, err := get(ctx, m.rest, role)
	return err == nil && status == http.StatusOK
}

// Crash ends Patroni and PostgreSQL with SIGKILL, as a machine that fails. Patroni goes
// first: it would start the server again.
func (m *Member) Crash() error { return errors.Join(m.Kill(), m.killServer(syscall.SIGKILL)) }

// Rejoin starts Patroni again after a crash, and returns when the member follows the
// leader.
func (m *Member) Rejoin(ctx context.Context) error {
	if err := m.Restart(ctx); err != nil {
		return err
	}
	return await(ctx, "member "+m.Name+" follows again", func(ctx context.Context) bool { return m.is(ctx, "replica") })
}

func (m *Member) close() error {
	// The immediate shutdown takes the server's own processes along, which would still
	// write into the directory.
	return errors.Join(m.Kill(), m.killServer(syscall.SIGQUIT), m.Close())
}

// killServer ends the server that Patroni has started in a session of its own.
func (m *Member) killServer(signal syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(m.data(), "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for PostgreSQL of member %s: %w", m.Name, err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || !m.runs(pid) {
		return nil // it has not begun, or left its file behind
	}
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill PostgreSQL of member %s: %w", m.Name, err)
	}
	return await(context.Background(), "PostgreSQL of member "+m.Name+" is gone", func(context.Context) bool { return !m.runs(pid) })
}

// runs tells whether a process is this member's server: numbers are given again.
func (m *Member) runs(pid int) bool {
	dir, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	own, err := os.Stat(m.data()) // its path may have symbolic links
	return err == nil && os.SameFile(dir, own)
}

// client keeps no connection, which would outlive the test.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// get asks a server of the loopback interface, and returns the status.
func get(ctx context.Context, port int, path string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loopback(port)+"/"+path, nil)
	if err != nil {
		return 0, fmt.Errorf("ask for %s: %w", path, err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask for %s: %w", path, err)
	}
	return answer.StatusCode, answer.Body.Close()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
