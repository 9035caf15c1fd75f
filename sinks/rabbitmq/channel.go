package rabbitmq

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// entry is a message in flight. If the message was refused because it was late, the
// entry stays without it, because the broker still owes the confirm.
type entry struct {
	item
	topic   string
	confirm *amqp.DeferredConfirmation
	written time.Time
	slow    bool // because of this message its topic was noted as late
}

// channel is one channel of a connection. It has one writer, and a follower that reads
// the confirms and returns. The writer hands an entry to the follower when the library
// is done with the message, so that nobody reports a message while it is being written.
type channel struct {
	amqp    *amqp.Channel
	closes  chan *amqp.Error
	returns chan amqp.Return
	window  int32
	used    atomic.Int32  // confirms that the broker owes
	room    chan struct{} // holds one: used has become smaller
	done    chan struct{} // closed when the follower takes no more entries

	// writing is held while a message is written and handed over, so that whoever
	// retires the channel, or settles what was in flight on it, sees all of the message
	// or nothing.
	writing  sync.Mutex
	retired  bool      // guarded by writing: no more messages
	question bool      // guarded by writing: a question is open, and nothing is written before its answer
	passed   time.Time // guarded by writing: the broker has taken all that was written until then

	asking sync.Mutex // held while a question or a request to close waits for its answer
	inbox  inbox
}

// openChannel blocks until the broker has answered or the connection ends.
func openChannel(conn *amqp.Connection, window int) (*channel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	c := &channel{
		amqp:   ch,
		window: int32(window),
		closes: ch.NotifyClose(make(chan *amqp.Error, 1)),
		// As large as the window: the library drops a return that finds no room for some
		// seconds, and then the confirm that follows would count as an acknowledgement.
		returns: ch.NotifyReturn(make(chan amqp.Return, window)),
		room:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		inbox:   inbox{fresh: make(chan struct{}, 1)},
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *channel) full() bool { return c.used.Load() >= c.window }

// Errors after which nothing of a message was written.
var (
	errRetired = errors.New("the channel takes no more messages")
	errBusy    = errors.New("a question is open on the channel")
)

// publish writes a message and hands it to the follower. After an error the message
// still belongs to the caller. After [errRetired] and [errBusy] nothing of it was
// written, and neither after [amqp.ErrClosed] if the connection is open: the library
// looks at the channel before it writes. After another error the broker may have it: the
// writers share a buffer, and another writer's flush may have sent what this one could not
// send.
func (c *channel) publish(exchange string, it item, p amqp.Publishing) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.retired {
		return errRetired
	}
	if c.question {
		return errBusy
	}
	now := time.Now()
	c.used.Add(1)
	confirm, err := c.amqp.PublishWithDeferredConfirm(exchange, it.message.Topic, true, false, p)
	if err != nil {
		c.used.Add(-1) // the broker owes no confirm for what did not go out whole
		return err
	}
	c.inbox.put(entry{item: it, topic: it.message.Topic, confirm: confirm, written: now})
	return nil
}

// ask puts a question to the broker on the channel, and returns when it was answered or
// the channel has ended. The answer shows that the broker has taken everything that was
// written before. The question is confirm.select, which changes nothing when it is
// repeated.
func (c *channel) ask() error {
	c.asking.Lock()
	defer c.asking.Unlock()
	c.writing.Lock()
	c.question = true // a question between the frames of a message would end the connection
	asked := time.Now()
	c.writing.Unlock()
	err := c.amqp.Confirm(false)
	c.writing.Lock()
	c.question = false
	if err == nil {
		c.passed = asked
	}
	c.writing.Unlock()
	c.tellRoom()
	return err
}

// busy returns whether a question is open, so that nothing is written.
func (c *channel) busy() bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.question
}

// passedUntil returns a time: the broker has taken everything that was written until
// then.
func (c *channel) passedUntil() time.Time {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.passed
}

// close closes the channel.
func (c *channel) close() error {
	c.asking.Lock() // the library would mix up two answers
	defer c.asking.Unlock()
	return c.amqp.Close()
}

// retire ends writing to the channel. Its follower still waits for the confirms.
func (c *channel) retire() {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.retired = true
}

// end is called once the channel is closed or retired, so that no entry follows
// those of the inbox.
func (c *channel) end() {
	c.writing.Lock()
	defer c.writing.Unlock()
	close(c.done)
}

// release notes that the broker owes n fewer confirms.
func (c *channel) release(n int) {
	if n == 0 {
		return
	}
	c.used.Add(int32(-n))
	c.tellRoom()
}

func (c *channel) tellRoom() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}
