package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/admin"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// The disk that the table is on is full, and no mark can be written: it is told with the
// server's words, at most a window is published, and all goes on when there is room again.
func TestFullDiskIsTold(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a small file system has to be mounted for it, as root")
	}
	w := newWorld(t, worldOptions{cluster: pgtest.Own(t, nil)})
	disk := w.smallDisk()
	w.exec(`CREATE TABLESPACE small LOCATION ` + sqltext.Literal(disk))
	w.exec(`ALTER TABLE {outbox} SET TABLESPACE small`)
	// Four such rows fill a page, so that no version of a row finds room beside them.
	const rows = 40
	w.exec(`INSERT INTO {outbox} (topic, payload) SELECT 'oracle.full', to_json(repeat('x', 1800)) FROM generate_series(1, ` + fmt.Sprint(rows) + `)`)
	rest := filepath.Join(disk, "rest")
	fill(t, rest)
	relay := w.relay()
	full := told{
		status: func(r admin.Report) bool { return strings.Contains(r.TableDown, "No space left on device") },
		above:  []string{"outbox_table_breaker_open"},
		log:    []string{`"level":"WARN"`, "no row can be marked", "No space left on device"},
	}
	w.awaitTold(relay, full)
	if n := w.marked(); n != 0 {
		t.Errorf("%d rows are marked, so the disk is not full", n)
	}
	if n := w.stored(); n > window {
		t.Errorf("%d copies were published", n)
	}
	if err := os.Remove(rest); err != nil {
		t.Fatal(err)
	}
	w.awaitDrained()
	w.awaitCalm(relay, full)
	if n := w.marked(); n != rows {
		t.Errorf("%d rows are marked", n)
	}
	relay.Terminate()
}

// smallDisk mounts a file system of a few megabytes, which belongs to the user that the
// server runs as. A shell of its own unmounts it, however this process ends.
func (w *world) smallDisk() string {
	w.t.Helper()
	var data string
	w.row("SHOW data_directory", nil, &data)
	info, err := os.Stat(data)
	if err != nil {
		w.t.Fatal(err)
	}
	path, err := os.MkdirTemp("/tmp", "outbox-disk-")
	if err != nil {
		w.t.Fatal(err)
	}
	options := fmt.Sprintf("size=4m,mode=700,uid=%d", info.Sys().(*syscall.Stat_t).Uid)
	shell := exec.Command("/bin/sh", "-c", `mount -t tmpfs -o "$2" tmpfs "$1" && echo mounted && cat; umount -l "$1"; rmdir "$1"`, "disk", path, options)
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	lease, err := shell.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	says, err := shell.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = lease.Close()
		_ = shell.Wait()
	})
	if line, _ := bufio.NewReader(says).ReadString('\n'); line != "mounted\n" {
		w.t.Skip("no file system can be mounted here: a container needs CAP_SYS_ADMIN for that")
	}
	return path
}

// fill writes zeros until the disk has no room.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
