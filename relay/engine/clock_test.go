package engine

import (
	"testing/synctest"
	"time"
)

// elapse moves the made-up clock of a synctest bubble on, and returns when everything in
// the bubble rests. No real time passes.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
