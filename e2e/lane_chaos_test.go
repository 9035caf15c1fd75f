//go:build chaos

package e2e_test

import "testing"

func TestChaosStreamLeaderStepsDownTenTimesUnderOneHotKey(t *testing.T) {
	newClusterWorld(t).stepDowns(10)
}
