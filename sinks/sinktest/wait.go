package sinktest

import (
	"errors"
	"testing"
	"time"
)

// Eventually calls f until it returns nil, for what nothing signals. The test
// ends with f's last error when the limit is over.
func Eventually(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not seen in %s: %s: %v", limit, what, err)
		}
		<-tick.C
	}
}

var errNotYet = errors.New("not yet")

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	Eventually(t, patience, what, func() error {
		if condition() {
			return nil
		}
		return errNotYet
	})
}

// quickly demands that the shortest of three tries is within the limit. A fault delays
// each of them, and a busy machine delays one now and then. try returns how long it took.
func (f *fixture) quickly(what string, limit time.Duration, try func() time.Duration) {
	f.Helper()
	var all []time.Duration
	for range 3 {
		took := try()
		if took <= limit {
			return
		}
		f.Logf("%s took %s", what, took)
		all = append(all, took)
	}
	f.Errorf("%s took %s, want at most %s", what, all, limit)
}
