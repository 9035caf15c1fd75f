package testbed_test

import (
	"bufio"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestPausedProcessStandsStillAndCanBeKilled(t *testing.T) {
	dir := newDir(t)
	cmd := exec.Command("sh", "-c", "while :; do echo tick; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := dir.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan struct{}, 1)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- struct{}{}:
			default:
			}
		}
	}()
	<-lines
	for range 20 {
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := p.Pause(); err != nil {
			t.Error("second pause:", err)
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		<-lines
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	silent := false
	for deadline := time.Now().Add(time.Minute); !silent && time.Now().Before(deadline); {
		select {
		case <-lines: // what the pipe still held
		case <-time.After(200 * time.Millisecond):
			silent = true
		}
	}
	if !silent {
		t.Error("a paused process goes on writing")
	}
	if err := p.Stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range lines { // until the reader has ended
	}
	if err := p.Pause(); err == nil {
		t.Error("a process that has ended can be paused")
	}
}
