package engine

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/outbox-relay/outbox-relay/relay"
)

// stream is one tail, from the creation of its slot to its end, on a
// goroutine of its own. The loop owns what is written here and asks for the end
// by cancel; the end always comes as the last step.
type stream struct {
	cancel context.CancelFunc
	steps  chan streamStep
	// begin is closed by the loop when the log may be read.
	begin  chan struct{}
	events chan relay.TailEvent
	// room is for the bytes of messages in events.
	room  *semaphore.Weighted
	bytes int64 // the whole of room
	// tail is set with the step streamOpened.
	tail relay.Tail
}

// streamStep tells the loop how far a stream has got.
type streamStep struct {
	kind stepKind
	tail relay.Tail // of streamOpened
	err  error      // of streamEnded
}

type stepKind uint8

const (
	streamOpened  stepKind = iota + 1 // the slot is there, and all before it visible
	streamStarted                     // events follow
	streamEnded                       // the goroutine has ended
)

var stepNames = [...]string{"", "opened", "started", "ended"}

// String returns the step in lower case.
func (k stepKind) String() string { return stepNames[k] }

// eventsAhead is how many events the reading goroutine may be ahead of the loop:
// enough that the two need not meet for each row.
const eventsAhead = 256

// newStream makes a stream that is at most so many bytes ahead of the loop, one
// message that is larger set aside.
func newStream(cancel context.CancelFunc, bytes int64) *stream {
	return &stream{
		room:   semaphore.NewWeighted(bytes),
		bytes:  bytes,
		cancel: cancel,
		steps:  make(chan streamStep, 3), // all there are
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
	for {
		ev, err := tail.Next(ctx)
		if err != nil {
			return err
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

// size is what the event takes of room.
func (s *stream) size(ev relay.TailEvent) int64 {
	if ev.Message == nil {
		return 0
	}
	return min(ev.Message.Size, s.bytes)
}

// taken makes room: the loop has the event.
func (s *stream) taken(ev relay.TailEvent) { s.room.Release(s.size(ev)) }
