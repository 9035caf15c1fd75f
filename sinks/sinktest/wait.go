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
	within(t, patience, what, condition)
}

func within(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	Eventually(t, limit, what, func() error {
		if condition() {
			return nil
		}
		return errNotYet
	})
}
