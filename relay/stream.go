package relay

import "context"

// stream is one try at a tail, from the creation of its slot to its end, on a
// goroutine of its own. The loop owns what is written here and asks for the end
// by cancel; the end always comes as the last step.
type stream struct {
	cancel context.CancelFunc
	steps  chan streamStep
	// begin is closed by the loop when the log may be read.
	begin  chan struct{}
	events chan TailEvent
	// tail is set with the step streamOpened.
	tail Tail
}

// streamStep tells the loop how far a stream has got.
type streamStep struct {
	kind stepKind
	tail Tail  // of streamOpened
	err  error // of streamEnded
}

type stepKind uint8

const (
	streamOpened  stepKind = iota + 1 // the slot is there, and all before it visible
	streamStarted                     // events follow
	streamEnded                       // the goroutine has ended
)

// eventsAhead is how many events the reading goroutine may be ahead of the loop:
// enough that the two need not meet for each row.
const eventsAhead = 256

func newStream(cancel context.CancelFunc) *stream {
	return &stream{
		cancel: cancel,
		steps:  make(chan streamStep, 3), // all there are
		begin:  make(chan struct{}),
		events: make(chan TailEvent, eventsAhead),
	}
}

// run lives until the tail breaks or ctx ends.
func (s *stream) run(ctx context.Context, open func(context.Context) (Tail, error)) {
	err := s.follow(ctx, open)
	s.steps <- streamStep{kind: streamEnded, err: err}
}

func (s *stream) follow(ctx context.Context, open func(context.Context) (Tail, error)) error {
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
		select {
		case s.events <- ev:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
