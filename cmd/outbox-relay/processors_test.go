package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
)

func TestOneProcessorIsUsedWhileItIsEnough(t *testing.T) {
	var did []string
	p := &processors{useOne: func() { did = append(did, "one") }, useAll: func() { did = append(did, "all") }}
	for i, look := range []struct {
		used float64
		want string
	}{
		{1.5, ""},
		{0.1, ""},
		{0.6, ""}, // so it was not quiet twice in a row
		{0.1, ""},
		{0.1, "one"},
		{0.1, "one"},
		{0.6, "one"}, // neither much nor little
		{0.7, "one"},
		{0.9, "one all"},
		{0.6, "one all"},
		{0.1, "one all"},
		{0.1, "one all one"},
	} {
		p.look(look.used)
		if got := strings.Join(did, " "); got != look.want {
			t.Errorf("after look %d, with %.1f of a processor: %q, want %q", i, look.used, got, look.want)
		}
	}
}

// It changes the whole process, so it is not parallel.
func TestProcessorsFollowTheWorkOfTheProcess(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("there is one processor only")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	log := slog.New(slog.DiscardHandler)

	var busy atomic.Bool
	var total time.Duration
	last := time.Now()
	used := func() time.Duration { // called by one goroutine at a time
		now := time.Now()
		if busy.Load() {
			total += now.Sub(last)
		}
		last = now
		return total
	}
	fitProcessors(t.Context(), []string{"GOMAXPROCS=2"}, used, log)()
	stop := fitProcessors(t.Context(), nil, used, log)
	awaitProcessors(t, 1, "little work")
	busy.Store(true)
	all := runtime.NumCPU()
	await.Until(t, "Go uses several processors (much work)", func() bool { n := runtime.GOMAXPROCS(0); return 1 < n && n <= all })
	busy.Store(false)
	awaitProcessors(t, 1, "little work again")
	stop()
	if got := runtime.GOMAXPROCS(0); got == 1 {
		t.Error("at the end Go still uses one processor")
	}
}

func awaitProcessors(t *testing.T, n int, what string) {
	t.Helper()
	await.Until(t, fmt.Sprintf("Go uses %d processors (%s)", n, what), func() bool { return runtime.GOMAXPROCS(0) == n })
}
