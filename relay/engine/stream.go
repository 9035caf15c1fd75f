package engine

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/outbox-relay/outbox-relay/relay"
)

// stream reads the log for one tail, from the creation of its slot to its end, on a
// goroutine of its own. The loop owns these fields, and asks for the end by cancel. The
// last step is always streamEnded.
type stream struct {
	cancel context.CancelFunc
	steps  chan streamStep
	// begin is closed by the loop when the log may be read.
	begin  chan struct{}
	events chan relay.TailEvent
	// room is for the bytes of messages in events.
	room  *semaphore.Weighted
	bytes int64 // the size of room
	// tail is set with the step streamOpened.
	tail relay.Tail
}

// streamStep tells the loop how far a stream has got.
type streamStep struct {
	kind stepKind
	tail relay.Tail // for streamOpened
	err  error      // for streamEnded
}

type stepKind uint8

const (
	streamOpened  stepKind = iota + 1 // the slot is there, and everything that committed before it is visible
	streamStarted                     // events follow
	streamEnded                       // the goroutine has ended
)

var stepNames = [...]string{"", "opened", "started", "ended"}

// String returns the step in lower case.
func (k stepKind) String() string { return stepNames[k] }

// eventsAhead is how many events the stream may be ahead of the loop, so that the two
// goroutines need not meet for each row.
const eventsAhead = 256

// positionEvery is how often at most the loop is told a position that comes without a row, as
// at the end of each transaction. Positions are there to find rows that the log has missed.
const positionEvery = 100 * time.Millisecond

// newStream makes a stream that may be at most so many bytes ahead of the loop. A
// larger message comes alone.
func newStream(cancel context.CancelFunc, bytes int64) *stream {
	return &stream{
		room:   semaphore.NewWeighted(bytes),
		bytes:  bytes,
		cancel: cancel,
		steps:  make(chan streamStep, 3), // one for each kind
		begin:  make(chan struct{}),
		events: make(chan relay.TailEvent, eventsAhead),
	}
}

// run lives until the tail breaks or ctx ends.
func (s *stream) run(ctx context.Context, open func(context.Context) (relay.Tail, error)) {
	err := s.follow(ctx, open)
	s.steps <- streamStep{kind: streamEnded, err: err}
}

func (s *stream) follow(ctx context.Context, open func(context.Context) (relay.Tail, error)) error {
	tail, err := open(ctx)
	if err != nil {
		return err
	}
	defer tail.Close()
	s.steps <- streamStep{kind: streamOpened, tail: tail}
	select {
	case <-s.begin:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := tail.Start(ctx); err != nil {
		return err
	}
	s.steps <- streamStep{kind: streamStarted}
	var told time.Time
	for {
		ev, err := tail.Next(ctx)
		if err != nil {
			return err
		}
		if ev.Message == nil {
			now := time.Now()
			if now.Sub(told) < positionEvery {
				continue // the next row tells it, or what a silent server is asked for within two seconds
			}
			told = now
		}
		if err := s.room.Acquire(ctx, s.size(ev)); err != nil {
			return err
		}
		select {
		case s.events <- ev:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// size is how much of room the event takes.
func (s *stream) size(ev relay.TailEvent) int64 {
	if ev.Message == nil {
		return 0
	}
	return min(ev.Message.Size, s.bytes)
}

// taken makes room for further events, because the loop has this one.
func (s *stream) taken(ev relay.TailEvent) { s.room.Release(s.size(ev)) }
