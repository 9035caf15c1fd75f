package deploytest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/outbox-relay/outbox-relay/e2e/deploytest/imagebuild"
	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
)

// engine is a way to run a command of the image: its files read-only, as its user,
// without a capability, in the network of this machine.
type engine interface {
	// command makes one. What engines need of t is gone with it.
	command(t *testing.T, image built, env []string, args ...string) *exec.Cmd
	// inside makes a command within a container that runs.
	inside(t *testing.T, running *exec.Cmd, image built, env []string, args ...string) *exec.Cmd
}

// bare needs no engine at all: chroot in a mount namespace of its own.
type bare struct{}

func (bare) command(_ *testing.T, image built, env []string, args ...string) *exec.Cmd {
	const script = `mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec chroot --userspec=65532:65532 "$0" /outbox-relay "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, image.root}, args...)...)
	cmd.Env = env
	return cmd
}

func (b bare) inside(t *testing.T, _ *exec.Cmd, image built, env []string, args ...string) *exec.Cmd {
	return b.command(t, image, env, args...)
}

// runc is the engine below Docker and Kubernetes.
type runc struct{ path string }

// buildRunc is runc's path. It is pinned in a module of its own, as the linters are.
func buildRunc(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-n", "-modfile=.tools/runc/go.mod", "runc")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	if err != nil {
		t.Fatalf("build runc: %v", err)
	}
	return strings.TrimSpace(string(path))
}

func (r runc) command(t *testing.T, image built, env []string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := image.image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	spec := specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: image.root, Readonly: true},
		Process: &specs.Process{
			Args: append(file.Config.Entrypoint, args...), Env: env, Cwd: "/", NoNewPrivileges: true,
			User: specs.User{UID: 65532, GID: 65532}, Capabilities: &specs.LinuxCapabilities{},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
		}},
	}
	bundle := t.TempDir()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("deploytest-%d-%d", os.Getpid(), time.Now().UnixNano())
	t.Cleanup(func() { _ = exec.Command(r.path, "--root", scratch+"/runc-state", "delete", "--force", id).Run() })
	return exec.Command(r.path, "--root", scratch+"/runc-state", "run", "--bundle", bundle, id)
}

func (r runc) inside(_ *testing.T, running *exec.Cmd, _ built, env []string, args ...string) *exec.Cmd {
	id := running.Args[len(running.Args)-1]
	command := []string{"--root", scratch + "/runc-state", "exec"}
	for _, v := range env {
		command = append(command, "--env", v)
	}
	return exec.Command(r.path, append(append(command, id, "/outbox-relay"), args...)...)
}

// TestImageRelaysWithAReadOnlyRootAsNobody migrates, relays, is asked for its health and
// ends, all by commands of the image.
func TestImageRelaysWithAReadOnlyRootAsNobody(t *testing.T) {
	image := relayImage(t)
	engines := map[string]engine{"chroot": bare{}, "runc": runc{buildRunc(t)}}
	postgres, err := pgserver.Start(t.Context(), pgserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = postgres.Close() })
	broker, err := natsserver.StartInProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	for name, e := range engines {
		t.Run(name, func(t *testing.T) {
			// Of its own, because an engine makes directories in it to mount on.
			own := built{image.image, filepath.Join(scratch, "root-"+name)}
			if err := imagebuild.Unpack(own.image, own.root); err != nil {
				t.Fatal(err)
			}
			newTrial(t, postgres, broker, name).runs(e, own)
		})
	}
}

// trial is a database, a stream and the environment of a relay between them.
type trial struct {
	t     *testing.T
	db    *pgx.Conn
	topic string
	owner []string // the environment of the table's owner
	relay []string
}

func newTrial(t *testing.T, postgres *pgserver.Server, broker *natsserver.Server, name string) *trial {
	t.Helper()
	admin, err := pgx.Connect(t.Context(), postgres.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(t.Context()) }()
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	w := &trial{t: t, topic: name + ".created"}
	if w.db, err = pgx.Connect(t.Context(), postgres.URL(name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close(context.Background()) })
	conn, err := nats.Connect(broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{w.topic}}); err != nil {
		t.Fatal(err)
	}
	port, err := testbed.ReservePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = port.Close() })
	w.owner = []string{"OUTBOX_DATABASE_URL=" + postgres.URL(name)}
	w.relay = []string{
		"OUTBOX_DATABASE_URL=" + strings.Replace(postgres.URL(name), url.User(pgserver.Superuser).String()+"@", "relay@", 1),
		"OUTBOX_SINK_URL=" + broker.URL(),
		fmt.Sprintf("OUTBOX_HTTP_ADDR=127.0.0.1:%d", port.Number),
	}
	return w
}

func (w *trial) runs(e engine, image built) {
	t := w.t
	if out, err := e.command(t, image, w.owner, "migrate", "--role", "relay").CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	out, err := e.command(t, image, nil, "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), version) {
		t.Errorf("the image's version is %q (%v), want %s", out, err, version)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	relay := e.command(t, image, w.relay)
	relay.Stdout, relay.Stderr = log, log
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- relay.Wait() }()
	t.Cleanup(func() { _ = relay.Process.Kill() })
	said := func() string { return readFile(t, log.Name()) }

	if _, err := w.db.Exec(t.Context(), "INSERT INTO outbox (topic, payload) VALUES ($1, '{}')", w.topic); err != nil {
		t.Fatal(err)
	}
	w.await("the row is sent", said, func() bool {
		var sent bool
		err := w.db.QueryRow(t.Context(), "SELECT bool_and(sent_at IS NOT NULL) FROM outbox").Scan(&sent)
		return err == nil && sent
	})
	w.await("the health check succeeds", said, func() bool { return e.inside(t, relay, image, w.relay, "health", "--ready").Run() == nil })
	w.demandConfined(image.root)
	if err := relay.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after SIGTERM the relay ended with %v:\n%s", err, said())
		}
	case <-time.After(patience):
		t.Fatalf("the relay has not ended:\n%s", said())
	}
}

func (w *trial) await(what string, said func() string, is func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			w.t.Fatalf("after %v it is not so that %s:\n%s", patience, what, said())
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-w.t.Context().Done():
			w.t.Fatal(w.t.Context().Err())
		}
	}
}

// demandConfined looks at the process itself: whose it is, and what it may do.
func (w *trial) demandConfined(root string) {
	w.t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		w.t.Fatal(err)
	}
	found := 0
	for _, exe := range processes {
		to, err := os.Readlink(exe)
		if err != nil || (to != "/outbox-relay" && to != filepath.Join(root, "outbox-relay")) {
			continue
		}
		found++
		status, err := os.ReadFile(filepath.Join(filepath.Dir(exe), "status"))
		if err != nil {
			continue // it has ended
		}
		for _, line := range []string{"Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000"} {
			if !strings.Contains(string(status), line) {
				w.t.Errorf("the relay's status has no line %q:\n%s", line, status)
			}
		}
		mounts, err := os.ReadFile(filepath.Join(filepath.Dir(exe), "mountinfo"))
		if err == nil && !readOnlyRoot(string(mounts), root) {
			w.t.Errorf("the relay's root can be written to:\n%s", mounts)
		}
	}
	if found == 0 {
		w.t.Error("no process runs the image's binary")
	}
}

// readOnlyRoot tells whether the mount that is a process's root, by its own name or by
// that outside of the chroot, is read-only.
func readOnlyRoot(mounts, root string) bool {
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) > 5 && (fields[4] == "/" || fields[4] == root) && strings.HasPrefix(fields[5], "ro") {
			return true
		}
	}
	return false
}
