package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// term is one term of leadership. It starts with nothing in flight, and ends when the
// relay no longer leads, whatever the cause. The goroutine in loop owns all of it.
type term struct {
	*Relay
	*workers
	memory
	suspects *suspects
	window   opening
	breaker  breaker
	intake   *intake
	tailing  *tailing
	expiry   *expiry
	reports  *mailbox[report]
	outcomes handover     // for the marker
	laned    relay.Laned  // the sink, if it names lanes
	report   relay.Report // onReport, made once

	stopping bool
	pausing  bool     // the note says that nothing new is to be published
	purged   *purging // the state of the purge that was last told
}

func newTerm(r *Relay, control relay.Control) *term {
	t := &term{
		Relay: r,
		memory: newMemory(limits{
			window:      r.config.MaxInFlight,
			windowBytes: r.config.BufferBytes / 2,
			chain:       max(1, r.config.MaxInFlight/2), // with less, a hot key waits for its refills (docs/performance.md)
			keyWindow:   r.config.KeyWindow,
		}, r.config.Ordering, r.config.BufferBytes/4),
		window:   opening{full: r.config.MaxInFlight, rows: 1, proven: r.config.openWindow},
		suspects: newSuspects(),
		reports:  newMailbox[report](),
	}
	t.laned, _ = r.config.Sink.(relay.Laned)
	t.report = t.onReport
	t.workers = newWorkers(r, control, t.taken)
	t.intake = &intake{
		memory:       t.memory,
		limits:       bufferLimits{rows: readAhead * r.config.MaxInFlight, bytes: r.config.BufferBytes},
		pace:         pacer{interval: r.config.PollInterval},
		reader:       t.reader,
		messageLimit: r.messageLimit,
	}
	t.tailing = &tailing{
		config: r.config.Tail, intake: t.intake, pollingSince: time.Now(),
	}
	return t
}

// streams returns a function that opens a tail, on a goroutine that ends with hard.
func (t *term) streams(hard context.Context, control relay.Control) func() *stream {
	return func() *stream {
		ctx, cancel := context.WithCancel(hard)
		s := newStream(cancel, max(1, t.config.BufferBytes/readAhead/2))
		t.tasks.Go(func() {
			s.run(ctx, func(ctx context.Context) (relay.Tail, error) {
				return t.config.Database.OpenTail(ctx, control, t.messageLimit)
			})
		})
		return s
	}
}

// lead runs one term. It ends with an error when the control session fails. When ctx
// ends, it awaits and marks what is in flight, for at most ShutdownGrace, and returns
// nil, or errUnclean if some of it was not marked.
func (r *Relay) lead(ctx context.Context, control relay.Control) error {
	t := newTerm(r, control)
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// If something hangs at the end, such as a database that does not answer, it is cut
	// off soon after the grace period.
	defer context.AfterFunc(ctx, func() {
		if relay.Sleep(hard, r.config.ShutdownGrace+cutOff) == nil {
			cancel()
		}
	})()

	t.tailing.openStream = t.streams(hard, control)
	stopMarker := make(chan struct{})
	markerDone := t.start(hard, stopMarker)
	err := t.loop(ctx, markerDone)
	if err == nil || errors.Is(err, errSteppedDown) {
		close(stopMarker)
		err = cmp.Or(<-markerDone, control.Resign(hard), err)
		t.takeSettled() // the loop did not wait for rows that were set aside, and some may be marked by now
	}
	cancel()
	t.tasks.Wait()
	if left := t.dispatcher.uncommitted + t.outside.sum.rows; t.stopping && left > 0 {
		err = cmp.Or(err, errUnwritten)
		return fmt.Errorf("%w: %d rows without an acknowledgement or a mark will be sent again: %w", errUnclean, left, err)
	}
	return err
}

// cutOff is how long after the grace period everything is cancelled.
const cutOff = time.Second

// loop does the work of a term. Nothing is published after it has returned.
func (t *term) loop(ctx context.Context, markerDone <-chan error) error {
	t.openBreaker("", nil)
	wake := time.NewTimer(0)
	defer wake.Stop()
	stop := ctx.Done()
	var grace <-chan time.Time
	for {
		t.advance(wake)
		if err := t.stepsDown(time.Now()); err != nil {
			return err
		}
		if t.finished() {
			return nil
		}
		select {
		case <-stop:
			stop, grace = nil, time.After(t.config.ShutdownGrace)
			t.stop()
		case <-grace:
			return errGrace
		case err := <-markerDone:
			return cmp.Or(err, errCutOff)
		case <-t.reports.ready:
			t.takeReports()
		case <-t.marker.changed:
		case <-t.marker.settled.ready:
			t.takeSettled()
		case res := <-t.reader.session.results:
			if err := t.answered(res); err != nil {
				return err
			}
		case <-t.reader.session.woken:
			t.tailing.wakeAt(time.Now())
		case m := <-t.copies(time.Now()):
			t.publishCopy(m, time.Now())
		case <-t.copier.over:
		case err := <-t.prober.results:
			t.probed(err)
		case step := <-t.tailing.steps():
			t.stepped(step)
		case ev := <-t.tailing.events(t.idle()):
			t.follow(ev)
		case <-wake.C:
		}
	}
}

func (t *term) takeSettled() {
	for _, s := range t.marker.settled.take() {
		t.settle(s)
	}
}

// finished says whether the relay is stopping, and none of its published rows waits for
// an outcome or a mark that may still come.
func (t *term) finished() bool {
	return t.stopping && t.dispatcher.uncommitted+t.outside.rows[behindALock] == 0
}

// turn is how often the loop runs at least, so that others see that it lives.
const turn = time.Second

// advance asks for rows and publishes what may go, and sets the timer for what
// is due next.
func (t *term) advance(wake *time.Timer) {
	now := time.Now()
	t.followPause(now)
	t.tailing.leaveIfUnread(now)
	t.tell(now) // before a survey begins, which ends holds for as long as it takes
	pause := turn
	if !t.idle() {
		t.readRoomyTopics(now)
		t.tailing.advance(now)
		if t.tailing.polls() {
			t.intake.advance(now)
		}
		t.publish()
		t.outcomes.give(t.marker)
		now = time.Now()
		pause = min(t.tailing.until(now, pause), t.untilProbe(now), t.throttle.until(now))
		pause = t.topics.until(now, pause)
		if t.tailing.polls() && !t.intake.running() && !t.reader.busy() {
			pause = min(pause, t.intake.pace.until(now))
		}
	}
	t.lookAtBroker(now)
	t.expire(now)
	t.tailing.noteUnread(now, t.idle())
	t.lookAtProgress(now)
	t.marker.countStandbys.Store(t.mayStepDown(now))
	wake.Reset(pause)
}

// idle says whether nothing new is read or published.
func (t *term) idle() bool { return t.breaker.open || t.stopping || t.pausing }

// publish hands the sink messages, as long as the window has room.
func (t *term) publish() {
	for !t.breaker.open {
		now := time.Now()
		t.dispatcher.window = t.room(now)
		if t.marker.told.Load().table.isOpen() && t.dispatcher.window > 0 {
			t.dispatcher.pickAny() // bad rows are often neighbours
		}
		if !t.throttle.lets(now) {
			break
		}
		if t.copier.hasTurn && t.copyInTurn(now) {
			continue
		}
		t.dispatcher.beside = t.copier.out.Load()
		m := t.dispatcher.next(t.suspects.has, t.laneOf)
		if m == nil {
			break
		}
		if m.Defect != nil {
			t.reported(m, relay.Outcome{Class: relay.Rejected, Type: defectType(m.Defect), Err: m.Defect})
			continue
		}
		t.throttle.went(now)
		t.handToSink(m)
		t.copier.hasTurn = true
		faultpoint("after-publish")
	}
	if t.laned != nil {
		t.laned.Flush() // also if the sink was only asked for a lane
	}
	t.marker.crowd(t.dispatcher.queued.rows > 0 && t.dispatcher.uncommitted >= t.dispatcher.window)
}

// handToSink makes the sink publish the message, in its lane if it has one.
func (t *term) handToSink(m *item) {
	t.withSink.Add(1)
	if m.lane.Number == 0 {
		t.config.Sink.Publish(m.Message, t.report)
		return
	}
	t.laned.PublishIn(m.lane, m.Message, t.report)
}

// laneOf is the lane that the message would join now.
func (t *term) laneOf(m *relay.Message) relay.Lane {
	if t.laned == nil {
		return relay.Lane{}
	}
	return t.laned.Lane(m)
}

func defectType(err error) relay.ErrorType {
	if errors.Is(err, relay.ErrTooLarge) {
		return relay.ErrorTypeTooLarge
	}
	return relay.ErrorTypeInvalid
}

// answered handles the answer to a statement. It returns the errors that end a term.
func (t *term) answered(res readResult) error {
	now := time.Now()
	t.reader.answered(res.err)
	switch {
	case res.kind.ofTail():
		t.tailing.result(res, now)
		t.reconciled()
	case res.kind.ofExpiry():
		t.expired(res)
	default:
		t.intake.result(res, now)
	}
	t.reader.takenIn()
	switch {
	case res.err == nil && res.kind.readsRows():
		t.done.read++
		t.faults.recovered(faultReading)
	case res.err == nil:
	case errors.Is(res.err, relay.ErrNotLeader), errors.Is(res.err, relay.ErrSetup):
		return res.err
	default:
		t.intake.pace.next = now.Add(reconnect.equal(t.reader.failures))
		t.faults.report(faultReading, slog.Any("error", res.err))
	}
	return nil
}

// stop begins the shutdown: nothing new is read or published, and what waits in
// memory stays in the table.
func (t *term) stop() {
	t.stopping = true
	t.marker.crowd(true) // others wait for this relay's end
	t.returnAll()
	t.tailing.close(time.Now())
	t.log.Info("stopping", slog.Int("in_flight", t.dispatcher.uncommitted))
}

var (
	errUnclean = errors.New("shutdown was not clean")
	errGrace   = errors.New("the grace period is over")
	errCutOff  = errors.New("cut off after the grace period")
	// errUnwritten: the server has refused the outcomes of some rows.
	errUnwritten = errors.New("PostgreSQL refuses to have them marked")
	// errSteppedDown: a relay that made no progress has left the lead to others.
	errSteppedDown = errors.New("no progress")
)

// returnAll returns all rows that were not published to the table, and ends the running
// pass. The next pass starts at the lowest id again. So it brings them in order, behind
// the rows that are still with the sink.
func (t *term) returnAll() {
	for _, m := range t.dispatcher.returnQueued() {
		t.returned(m)
	}
	t.intake.abandon()
	t.tailing.allReturned(time.Now())
}
