//go:build chaos

package engine_test

import (
	"os"
	"testing"
	"time"
)

// TestChaosTailOpenedThousandsOfTimesUnderLoad goes on for as long as CHAOS says:
// some ten tails a second.
func TestChaosTailOpenedThousandsOfTimesUnderLoad(t *testing.T) {
	length := 2 * time.Minute
	if text := os.Getenv("CHAOS"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS=%q: want a duration, such as 10m", text)
		}
	}
	began := time.Now()
	newTailCampaign(t).run(func(int) bool { return time.Since(began) < length })
}
