package relay

import (
	"context"
	"sync"
	"time"
)

// observed stands before a [Database] and notes from what is asked of it what
// the relay is at: the loop itself need not tell. It knows less than the loop
// would: nothing of the sink, and of the counters only what was marked.
type observed struct {
	Database
	mu     sync.Mutex
	status Status
}

// Observed returns the database to put into a [Config] so that [Relay.Status]
// has something to tell.
func Observed(d Database) Database {
	now := time.Now()
	return &observed{Database: d, status: Status{Since: now, Turned: now}}
}

// Status is what the relay is at. Safe for concurrent use.
func (r *Relay) Status() Status {
	o, ok := r.config.Database.(*observed)
	if !ok {
		return Status{}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.status
	s.InFlight = int(r.withSink.Load())
	return s
}

// note is called at every turn.
func (o *observed) note(m Mode, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.status.Turned = now
	if o.status.Mode != m {
		o.status.Mode, o.status.Since, o.status.Reason = m, now, ""
	}
	if err != nil {
		o.status.Reason = err.Error()
	}
}

func (o *observed) Connect(ctx context.Context) (Control, error) {
	c, err := o.Database.Connect(ctx)
	o.note(Connecting, err)
	if err != nil {
		return nil, err
	}
	return &observedControl{Control: c, to: o}, nil
}

func (o *observed) OpenSweep(ctx context.Context, c Control) (Sweep, error) {
	s, err := o.Database.OpenSweep(ctx, c.(*observedControl).Control)
	o.note(Polling, err)
	if err != nil {
		return nil, err
	}
	return &observedSweep{Sweep: s, to: o}, nil
}

type observedControl struct {
	Control
	to *observed
}

func (c *observedControl) TryLead(ctx context.Context) (bool, error) {
	leads, err := c.Control.TryLead(ctx)
	if err == nil && leads {
		c.to.note(Polling, nil)
	} else {
		c.to.note(StandingBy, err)
	}
	return leads, err
}

func (c *observedControl) Mark(ctx context.Context, marks []Mark) ([]Ref, error) {
	done, err := c.Control.Mark(ctx, marks)
	c.to.mu.Lock()
	c.to.status.Published += uint64(len(done))
	c.to.mu.Unlock()
	return done, err
}

func (c *observedControl) Close() {
	c.to.note(Connecting, nil)
	c.Control.Close()
}

type observedSweep struct {
	Sweep
	to *observed
}

func (s *observedSweep) Begin(ctx context.Context) (Pass, error) {
	p, err := s.Sweep.Begin(ctx)
	s.to.note(Polling, err)
	return p, err
}
