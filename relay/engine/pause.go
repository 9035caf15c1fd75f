package engine

import (
	"log/slog"
	"time"
)

// followPause pauses and goes on as the note says. A pause returns to the table what has
// not been published, so that a relay that is stopped meanwhile, or another one that leads,
// leaves nothing behind. What is with the sink is awaited and marked. The tail is left at
// once: a pause may be long, and the server would keep its log.
func (t *term) followPause(now time.Time) {
	pause := t.marker.told.Load().note.Pause
	switch {
	case pause.On() && !t.pausing:
		t.pausing = true
		t.returnAll()
		t.tailing.pause(now)
		t.log.Info("paused: nothing new is published", slog.String("by", pause.By), slog.String("reason", pause.Reason),
			slog.Time("since", pause.Since), slog.Int("in_flight", t.dispatcher.uncommitted))
	case !pause.On() && t.pausing:
		t.pausing = false
		t.log.Info("resumed")
	}
}
