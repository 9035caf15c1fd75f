package engine

import (
	"context"
	"sync"

	"github.com/outbox-relay/outbox-relay/relay"
)

// workers are the goroutines of a term beside its loop. Each owns what it works on,
// mostly a session, and does what the loop asks.
type workers struct {
	marker *marker
	reader *reader
	prober *prober
	copier *copier
	purge  *purge
	tasks  sync.WaitGroup // all of them, and the streams
}

func newWorkers(r *Relay, control relay.Control, taken *takenRows) *workers {
	w := &workers{
		marker: newMarker(control, r.config.AttemptLimit, r.status.Note),
		reader: &reader{session: newReadSession(r.config.Database, control), taken: taken},
		prober: newProber(r),
		copier: newCopier(r.config.DeadLetterTopic, r.messageLimit, func(ctx context.Context) (relay.DeadLetters, error) {
			return r.config.Database.OpenDeadLetters(ctx, control)
		}),
	}
	sent := func() uint64 { return w.marker.told.Load().sent }
	w.purge = newPurge(r.config.Retention, sent, func(ctx context.Context) (relay.Purger, error) {
		return r.config.Database.OpenPurger(ctx, control)
	})
	return w
}

// start has them run until ctx ends. The marker ends earlier if stopMarker is closed, or
// if its session fails; markerDone has its error then.
func (w *workers) start(ctx context.Context, stopMarker <-chan struct{}) (markerDone <-chan error) {
	done := make(chan error, 1)
	w.tasks.Go(func() { done <- w.marker.run(ctx, stopMarker) })
	for _, run := range []func(context.Context){w.reader.session.run, w.prober.run, w.purge.run, w.copier.run} {
		w.tasks.Go(func() { run(ctx) })
	}
	return done
}
