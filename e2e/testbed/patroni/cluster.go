package patroni

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
)

// Scope is the cluster's name.
const Scope = "shop"

// The times of Patroni, in seconds. TTL is the least that it takes: a leader that dies
// is missed for so long.
const (
	TTL      = 20
	loopWait = 1
)

// deadline bounds what the cluster does as a whole: a start, a change of the leader.
const deadline = 2 * time.Minute

// ErrNoPatroni: Patroni or etcd is not installed.
var ErrNoPatroni = errors.New("patroni, patronictl or etcd is not installed: on Debian or Ubuntu run apt-get install patroni etcd-server")

// Cluster is members under one name.
type Cluster struct {
	owner   *syscall.Credential
	bin     string // of PostgreSQL
	store   *store
	members []*Member
}

// Start starts a cluster with so many members and synchronous_mode, and returns when it
// has a leader, a synchronous standby, and all others follow. ctx means nothing
// afterwards. The caller closes it.
func Start(ctx context.Context, members int) (*Cluster, error) {
	for _, program := range []string{"patroni", "patronictl", "etcd"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, ErrNoPatroni
		}
	}
	c := &Cluster{}
	if err := c.start(ctx, members); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, members int) error {
	var err error
	if c.bin, err = pgserver.Binaries(); err != nil {
		return err
	}
	if c.owner, err = pgserver.Owner(); err != nil {
		return err
	}
	if c.store, err = startStore(ctx, c.owner); err != nil {
		return err
	}
	// The first one makes the database, of which the others begin with a copy.
	for i := range members {
		m, err := startMember(ctx, c, string(rune('a'+i)))
		if err != nil {
			return err
		}
		c.members = append(c.members, m)
		if err := await(ctx, "member "+m.Name+" runs", func(ctx context.Context) bool {
			return m.is(ctx, "primary") || m.is(ctx, "replica")
		}); err != nil {
			return err
		}
	}
	return c.AwaitSynchronous(ctx)
}

// Leader is the member that takes writes.
func (c *Cluster) Leader(ctx context.Context) (*Member, error) {
	return c.find(ctx, "leads", func(ctx context.Context, m *Member) bool { return m.is(ctx, "primary") })
}

// AwaitOther waits for another leader than that one, and returns it.
func (c *Cluster) AwaitOther(ctx context.Context, fallen *Member) (*Member, error) {
	return c.find(ctx, "leads instead", func(ctx context.Context, m *Member) bool { return m != fallen && m.is(ctx, "primary") })
}

// AwaitSynchronous waits until a standby may take over without a loss.
func (c *Cluster) AwaitSynchronous(ctx context.Context) error {
	_, err := c.find(ctx, "is the synchronous standby", func(ctx context.Context, m *Member) bool { return m.is(ctx, "synchronous") })
	return err
}

func (c *Cluster) find(ctx context.Context, what string, fits func(context.Context, *Member) bool) (found *Member, err error) {
	err = await(ctx, "a member "+what, func(ctx context.Context) bool {
		for _, m := range c.members {
			if fits(ctx, m) {
				found = m
				return true
			}
		}
		return false
	})
	return found, err
}

// URL is the superuser's URL of a database, with all members and
// target_session_attrs=read-write.
func (c *Cluster) URL(database string) string {
	var hosts []string
	for _, m := range c.members {
		hosts = append(hosts, m.addr())
	}
	u := url.URL{
		Scheme: "postgres", User: url.User(pgserver.Superuser), Host: strings.Join(hosts, ","),
		Path: "/" + database, RawQuery: "sslmode=disable&target_session_attrs=read-write",
	}
	return u.String()
}

// Switchover hands the lead over, as an operator does, and returns what patronictl
// says.
func (c *Cluster) Switchover(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "patronictl", "--config-file", c.members[0].config(), "switchover", Scope, "--force")
	out, err := own(cmd, c.owner, c.members[0].dir.Path()).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("switch over: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// own makes a command the owner's, with nothing of this process's environment but the
// search path.
func own(cmd *exec.Cmd, owner *syscall.Credential, home string) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	cmd.Dir = home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8", "PYTHONUNBUFFERED=1"}
	return cmd
}

// Close kills all and removes the files. Idempotent.
func (c *Cluster) Close() error {
	var err error
	for _, m := range c.members {
		err = errors.Join(err, m.close())
	}
	if c.store != nil {
		err = errors.Join(err, c.store.Close())
	}
	return err
}

// await polls a condition.
func await(ctx context.Context, what string, holds func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		}
	}
	return nil
}
