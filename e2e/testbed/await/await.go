// Package await has what tests of the testbed wait with: until something is so, for as
// long as a slow machine may need.
package await

import (
	"testing"
	"time"
)

// patience is longer than a busy machine delays anything.
const patience = time.Minute

// Until blocks until the condition holds, and fails the test if that takes a minute.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("not seen in time:", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
