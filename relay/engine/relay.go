package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Config is what a relay works with. All fields are required, unless their zero value
// is explained.
type Config struct {
	Database relay.Database
	// Sink has been opened with a window of at least MaxInFlight messages.
	Sink     relay.Sink
	Logger   *slog.Logger
	Ordering Ordering

	PollInterval time.Duration
	Tail         TailConfig

	Limits
	// Rate bounds how many messages are published. Zero: no bound.
	Rate Rate
	// Retention is how long sent rows are kept. Zero: for ever.
	Retention time.Duration

	// DeadLetterTopic gets a copy of each dead row; empty: none does. If it is set, the
	// sink has been opened with a window of MaxInFlight + 1.
	DeadLetterTopic string
	// DeadBlocks says that the rows behind a dead row of their key wait until it is replayed.
	DeadBlocks bool

	// LogRedact hides the values of headers in the log. Zero: of all.
	LogRedact relay.Redacted

	AttemptLimit  relay.AttemptLimit
	Retry         Backoff
	ShutdownGrace time.Duration
	Patience

	openWindow bool // for tests: a term's window is open from the start
}

// Limits bound what is in memory and on its way.
type Limits struct {
	MaxInFlight int // published messages whose outcome is not committed
	// KeyWindow is how many messages of one key may be with the sink in a lane that is
	// not strict. Zero: 1.
	KeyWindow   int
	BufferBytes int64 // of messages in memory, those in flight included
	// MaxMessageBytes is a limit below the broker's; 0 for the broker's.
	MaxMessageBytes int64
}

// Patience says after how long a relay acts if there is no progress.
type Patience struct {
	// StallAfter is how long rows may be due, while nothing is read, acknowledged or
	// marked, before that is reported as a stall. Zero: 30 s.
	StallAfter time.Duration
	// StepDownAfter is how long a leader with a stall goes on if others stand by. Zero:
	// 1 min.
	StepDownAfter time.Duration
	// HolderAfter is how long a standby waits for the leadership lock before it looks
	// up who holds it. Zero: 30 s.
	HolderAfter time.Duration
	// MaxDefer is how long a row may wait for a broker that takes nothing; then it is dead.
	// Zero: for ever.
	MaxDefer time.Duration
}

// TailConfig says whether and how a relay reads the write-ahead log.
type TailConfig struct {
	// Wanted: the log is read if that is possible. If it is false, the relay polls, and
	// the other fields mean nothing.
	Wanted bool
	// ReconcileInterval is how often the table is surveyed while the log is read.
	ReconcileInterval time.Duration
	Gate              VisibilityGate
	// MaxWAL is how many bytes of its log the server may keep for the tail's slot.
	MaxWAL int64
	// Retry are the pauses between tries at a tail. Zero: 1 s to 1 min.
	Retry Backoff
}

func (c Config) withDefaults() Config {
	if c.Tail.Retry == (Backoff{}) {
		c.Tail.Retry = Backoff{time.Second, time.Minute}
	}
	c.KeyWindow = max(1, c.KeyWindow)
	if c.StallAfter == 0 {
		c.StallAfter = 30 * time.Second
	}
	if c.StepDownAfter == 0 {
		c.StepDownAfter = time.Minute
	}
	if c.HolderAfter == 0 {
		c.HolderAfter = 30 * time.Second
	}
	return c
}

// Relay moves rows from one outbox table to one sink.
type Relay struct {
	config Config
	log    *slog.Logger
	faults *faultLog
	// withSink counts the messages that the sink has not reported yet, of all terms of
	// leadership together.
	withSink atomic.Int64
	// done and progress belong to the goroutine in Run, and outlive terms.
	done     doneCounts
	progress progress
	throttle *throttle // belongs to the goroutine in Run, too
	deferral *deferral // belongs to it, too
	// yields is the time until which the relay leaves the lead to others.
	yields time.Time

	// status and count belong to the goroutine in Run; told is its copy for others.
	status relay.Status
	count  relay.Counters
	told   atomic.Pointer[relay.Status]
}

// New makes a relay. The caller keeps and closes the sink.
func New(c Config) *Relay {
	r := &Relay{config: c.withDefaults(), log: c.Logger, faults: newFaultLog(c.Logger), throttle: newThrottle(c.Rate), deferral: newDeferral(c.MaxDefer)}
	r.enter(relay.Connecting, "")
	return r
}

// Pauses between attempts to reach the database, and between attempts to lead.
var reconnect = Backoff{100 * time.Millisecond, 10 * time.Second}

// yieldFor is how long a relay that has stepped down leaves the lead to others.
const yieldFor = 10 * time.Second

const faultDatabase = "cannot work with the database"

// Run works until ctx ends: it stands by, leads, and comes back from every fault. When
// ctx ends, it waits for the rows in flight, marks them and hands over to a standby. It
// returns nil, or an error that counts the rows for which that failed. It is called
// once. It leaves no goroutine behind.
func (r *Relay) Run(ctx context.Context) error {
	failures := 0
	for {
		began := time.Now()
		err := r.serve(ctx)
		switch {
		case errors.Is(err, errUnclean):
			return err
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errSteppedDown):
			r.log.Warn("stepped down: others stand by, and this relay makes no progress", slog.Any("error", err))
			r.yields = time.Now().Add(yieldFor)
			continue
		}
		fault := faultDatabase
		if errors.Is(err, relay.ErrForeign) {
			fault, r.status.Foreign = faultForeign, err.Error()
		}
		r.enter(relay.Connecting, err.Error())
		r.deferral.forget()
		if time.Since(began) > reconnect.Max {
			failures = 0
		}
		failures++
		r.faults.report(fault, slog.Any("error", err))
		if relay.Sleep(ctx, reconnect.equal(failures)) != nil {
			return nil
		}
	}
}

// serve connects a control session, stands by, and leads.
func (r *Relay) serve(ctx context.Context) error {
	r.enter(relay.Connecting, r.status.Reason)
	control, err := r.config.Database.Connect(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer control.Close()
	if err := r.standBy(ctx, control); err != nil {
		return fmt.Errorf("stand by: %w", err)
	}
	r.faults.recovered(faultDatabase)
	r.log.Info("leading", slog.String("mode", "polling"))
	err = r.lead(ctx, control)
	r.log.Info("no longer leading")
	return err
}

// messageLimit is the longest payload that is worth reading, in bytes; 0 while
// none is known.
func (r *Relay) messageLimit() int64 {
	own, broker := r.config.MaxMessageBytes, r.config.Sink.MaxMessageBytes()
	if own == 0 || broker == 0 {
		return max(own, broker)
	}
	return min(own, broker)
}
