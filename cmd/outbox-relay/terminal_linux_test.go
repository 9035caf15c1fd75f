package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/outbox-relay/outbox-relay/relay"
)

// terminal opens a pseudo-terminal: what is typed at one end is read at the other.
func terminal(t *testing.T) (keyboard, screen *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	var number, unlock uint32
	for request, value := range map[uintptr]*uint32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, keyboard.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	if screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	return keyboard, screen
}

func TestReplayAsksOnATerminal(t *testing.T) {
	t.Parallel()
	p, env := morgue(t)
	for _, c := range []struct{ typed, done, left string }{
		{"n\n", "nothing was replayed", "5"},
		{"\n", "nothing was replayed", "5"},
		{"Yes\n", "replayed 5 rows", "0"},
	} {
		keyboard, screen := terminal(t)
		if _, err := io.WriteString(keyboard, c.typed); err != nil {
			t.Fatal(err)
		}
		root := newRoot(env)
		root.SetIn(screen)
		var said strings.Builder
		root.SetArgs([]string{"dead", "replay", "--all"})
		root.SetOut(&said)
		root.SetErr(&said)
		err := root.ExecuteContext(t.Context())
		if (err == nil) != (c.left == "0") || !strings.Contains(said.String(), "Replay 5 dead rows of public.outbox? [y/N] ") || !strings.Contains(said.String(), c.done) {
			t.Errorf("%q: %v: %s", c.typed, err, said.String())
		}
		if n := p.value("SELECT count(*)::text FROM outbox WHERE dead_at IS NOT NULL"); n != c.left {
			t.Errorf("%q: %s rows are dead, want %s", c.typed, n, c.left)
		}
	}
}

// On a terminal the same place is drawn anew, and what is on it stays at the end.
func TestWatchDrawsATerminalAnew(t *testing.T) {
	t.Parallel()
	keyboard, screen := terminal(t)
	up := sayingOf(t, relay.Status{Mode: relay.Tailing, Turned: time.Now(), Counters: relay.Counters{Published: 12}}, counting)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan int, 1)
	go func() {
		env := []string{up, "OUTBOX_DATABASE_URL=postgres://relay:s3cret@127.0.0.1:1/x", "TERM=xterm"}
		ended <- dispatch(ctx, env, []string{"status", "--watch", "--interval", "100ms"}, screen, io.Discard)
		screen.Close() // else the read below waits for more
	}()
	var drawn strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := keyboard.Read(buffer)
		drawn.Write(buffer[:n])
		if err != nil {
			break // EIO: nobody has the other end any more
		}
		if strings.Count(drawn.String(), toTheTop) > 2 {
			interrupt()
		}
	}
	got := drawn.String()
	if status := <-ended; status != 0 {
		t.Errorf("exit status %d", status)
	}
	if strings.Count(got, clearScreen) != 1 || !strings.Contains(got, "~4711") || !strings.Contains(got, "tailing for ") {
		t.Errorf("drawn %q", got)
	}
}
