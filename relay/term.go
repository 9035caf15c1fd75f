package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// term is one term of leadership. It starts with nothing in flight and ends
// with leadership, whatever ended it. The goroutine in loop owns all of it.
type term struct {
	*Relay
	marker     *marker
	sweeper    *sweeper
	prober     *prober
	dispatcher *dispatcher
	flight     *inFlight
	holds      *holds
	suspects   *suspects
	breaker    breaker
	intake     *intake
	reports    *mailbox[report]

	stopping      bool
	sweepFailures int    // in a row
	acknowledged  []Mark // for the marker, collected over one turn of the loop
}

// report is what the sink said of one message.
type report struct {
	message *Message
	outcome Outcome
}

func newTerm(r *Relay, control Control) *term {
	t := &term{
		Relay:   r,
		marker:  newMarker(control, r.config.AttemptLimit),
		sweeper: newSweeper(r.config.Database, control),
		dispatcher: newDispatcher(limits{
			window:      r.config.MaxInFlight,
			windowBytes: r.config.BufferBytes / 2,
			chain:       max(1, r.config.MaxInFlight/4),
		}, r.config.Ordering),
		flight:   newInFlight(),
		holds:    newHolds(),
		suspects: newSuspects(),
		reports:  newMailbox[report](),
	}
	t.prober = newProber(r)
	t.intake = &intake{
		limits:       bufferLimits{rows: readAhead * r.config.MaxInFlight, bytes: r.config.BufferBytes},
		dispatcher:   t.dispatcher,
		flight:       t.flight,
		holds:        t.holds,
		pace:         pacer{interval: r.config.PollInterval},
		requests:     t.sweeper.requests,
		messageLimit: r.messageLimit,
	}
	return t
}

// lead runs one term: until the control session fails (an error), or until ctx
// ends and what is in flight has been awaited and marked (nil), at the latest
// ShutdownGrace after. Where that did not come about the error is errUnclean.
func (r *Relay) lead(ctx context.Context, control Control) error {
	t := newTerm(r, control)
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// Whatever hangs at the end, such as a database that takes no farewell, is cut
	// off soon after the grace period.
	defer context.AfterFunc(ctx, func() {
		if sleep(hard, r.config.ShutdownGrace+cutOff) == nil {
			cancel()
		}
	})()

	var tasks sync.WaitGroup
	stopMarker := make(chan struct{})
	markerDone := make(chan error, 1)
	tasks.Go(func() { markerDone <- t.marker.run(hard, stopMarker) })
	tasks.Go(func() { t.sweeper.run(hard) })
	tasks.Go(func() { t.prober.run(hard) })

	err := t.loop(ctx, markerDone)
	if err == nil {
		close(stopMarker)
		if err = <-markerDone; err == nil {
			err = control.Resign(hard)
		}
	}
	cancel()
	tasks.Wait()
	if t.stopping && t.dispatcher.uncommitted > 0 {
		return fmt.Errorf("%w: %d rows without an acknowledgement or a mark will be sent again: %w",
			errUnclean, t.dispatcher.uncommitted, err)
	}
	return err
}

// cutOff after the grace period, everything is cancelled.
const cutOff = time.Second

// loop is the relay at work. It publishes nothing more once it has returned.
func (t *term) loop(ctx context.Context, markerDone <-chan error) error {
	t.openBreaker("", nil)
	wake := time.NewTimer(0)
	defer wake.Stop()
	stop := ctx.Done()
	var grace <-chan time.Time
	for {
		t.advance(wake)
		if t.stopping && t.dispatcher.uncommitted == 0 {
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
		case <-t.marker.settled.ready:
			for _, s := range t.marker.settled.take() {
				t.settle(s)
			}
		case res := <-t.sweeper.results:
			if err := t.swept(res); err != nil {
				return err
			}
		case err := <-t.prober.results:
			t.probed(err)
		case <-wake.C:
		}
	}
}

// advance asks for rows and publishes what may go, and sets the timer for the
// next pass.
func (t *term) advance(wake *time.Timer) {
	if t.stopping || t.breaker.open {
		return
	}
	t.intake.advance(time.Now())
	t.publish()
	if t.intake.state == passNone {
		wake.Reset(t.intake.pace.until(time.Now()))
	} else {
		wake.Reset(passTurn)
	}
}

// publish hands the sink what the window has room for.
func (t *term) publish() {
	for !t.breaker.open {
		m := t.dispatcher.next(t.suspects.has)
		if m == nil {
			return
		}
		if m.Defect != nil {
			t.reported(m, Outcome{Class: Rejected, Type: defectType(m.Defect), Err: m.Defect})
			continue
		}
		t.withSink.Add(1)
		t.config.Sink.Publish(m, t.onReport)
		faultpoint("after-publish")
	}
}

func defectType(err error) ErrorType {
	if errors.Is(err, ErrTooLarge) {
		return ErrorTypeTooLarge
	}
	return ErrorTypeInvalid
}

// onReport runs on the sink's goroutines.
func (t *term) onReport(m *Message, o Outcome) {
	t.reports.put(report{m, o})
	t.withSink.Add(-1)
}

func (t *term) takeReports() {
	for _, r := range t.reports.take() {
		t.reported(r.message, r.outcome)
	}
	if len(t.acknowledged) > 0 {
		t.marker.marks.put(t.acknowledged...)
		t.acknowledged = t.acknowledged[:0]
	}
}

// swept takes in a result of the sweeper. It returns the errors that end a term.
func (t *term) swept(res sweepResult) error {
	now := time.Now()
	t.intake.result(res, now)
	const fault = "cannot read the outbox table"
	switch {
	case res.err == nil:
		t.sweepFailures = 0
		t.faults.recovered(fault)
	case errors.Is(res.err, ErrNotLeader), errors.Is(res.err, ErrSetup):
		return res.err
	default:
		t.sweepFailures++
		t.intake.pace.next = now.Add(reconnect.equal(t.sweepFailures))
		t.faults.report(fault, slog.Any("error", res.err))
	}
	return nil
}

// stop begins the shutdown: nothing new is read or published, and what waits in
// memory stays in the table.
func (t *term) stop() {
	t.stopping = true
	t.giveBack()
	t.log.Info("stopping", slog.Int("in_flight", t.dispatcher.uncommitted))
}

var (
	errUnclean = errors.New("shutdown was not clean")
	errGrace   = errors.New("the grace period is over")
	errCutOff  = errors.New("cut off after the grace period")
)

// giveBack drops all that has not been published, and the running pass. The
// rows are in the table, and the next pass, which starts again at the lowest id,
// brings them in order, behind what is still with the sink.
func (t *term) giveBack() {
	for _, m := range t.dispatcher.dropQueued() {
		t.flight.drop(m.Ref)
	}
	t.intake.abandon()
}
