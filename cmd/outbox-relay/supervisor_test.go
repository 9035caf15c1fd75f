package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// systemd is the socket that systemd would listen on.
type systemd struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

func newSystemd(t *testing.T) systemd {
	t.Helper()
	// An abstract name, which leaves no file.
	s := systemd{t: t, path: fmt.Sprintf("@outbox-relay-test-%d-%s", os.Getpid(), t.Name())}
	var err error
	if s.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

// environ is what systemd puts into the environment of a unit with that WatchdogSec.
func (s systemd) environ(watchdog time.Duration) []string {
	return []string{
		"NOTIFY_SOCKET=" + s.path, fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()), fmt.Sprintf("WATCHDOG_PID=%d", os.Getpid()),
	}
}

// await waits for a message with that line.
func (s systemd) await(line string) {
	s.t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	var seen []string
	buffer := make([]byte, 4096)
	for {
		n, err := s.conn.Read(buffer)
		if err != nil {
			s.t.Fatalf("systemd was not told %s: %v; it was told %q", line, err, seen)
		}
		message := string(buffer[:n])
		if slices.Contains(strings.Split(message, "\n"), line) {
			return
		}
		seen = append(seen, message)
	}
}

func TestSystemdIsToldOfStartLifeAndEnd(t *testing.T) {
	t.Parallel()
	s := newSystemd(t)
	var hangs atomic.Bool
	health := func() (string, string) {
		if hangs.Load() {
			return "the relay hangs", "leading"
		}
		return "", "leading"
	}
	ctx, cancel := context.WithCancel(t.Context())
	stop := newSupervisor(s.environ(300*time.Millisecond)).follow(ctx, health, slog.New(slog.DiscardHandler))
	s.await("READY=1")
	s.await("WATCHDOG=1")
	s.await("STATUS=leading")
	s.await("WATCHDOG=1")
	hangs.Store(true)
	s.await("STATUS=the relay hangs")
	// From here on it says nothing of its life, and systemd would end it.
	for range 3 {
		if err := s.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 4096)
		n, err := s.conn.Read(buffer)
		if err != nil || strings.Contains(string(buffer[:n]), "WATCHDOG") {
			t.Fatalf("a relay that hangs tells %q (%v)", buffer[:n], err)
		}
	}
	hangs.Store(false)
	s.await("WATCHDOG=1")
	cancel()
	s.await("STOPPING=1")
	s.await("WATCHDOG=1") // what is in flight is awaited
	stop()
}

// A systemd that is gone, or an environment that is another's, changes nothing.
func TestNobodyIsToldWhereNobodyListens(t *testing.T) {
	t.Parallel()
	s := newSystemd(t)
	foreign := newSupervisor([]string{"NOTIFY_SOCKET=" + s.path, "WATCHDOG_USEC=1000000", "WATCHDOG_PID=1"})
	if foreign.watchdog != 0 {
		t.Errorf("the watchdog of process 1 is taken for ours: %v", foreign.watchdog)
	}
	for _, environ := range [][]string{nil, {"NOTIFY_SOCKET=/nowhere/notify"}} {
		newSupervisor(environ).follow(t.Context(), func() (string, string) { return "", "" }, slog.New(slog.DiscardHandler))()
	}
}
