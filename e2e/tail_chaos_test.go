//go:build chaos

package e2e_test

import (
	"testing"
	"time"
)

func TestChaosBrokerDownForTwoMinutesWhileTailing(t *testing.T) {
	t.Parallel()
	brokerDownWhileTailing(t, 2*time.Minute)
}
