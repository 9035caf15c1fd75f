package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

const (
	everything = "#"
	// exchangeAgain is the pause before the exchange is looked for again.
	exchangeAgain = 500 * time.Millisecond
	watchPrefetch = 100
	// How many messages the broker keeps for a watch that does not read; it drops the
	// oldest.
	watchMessages = 10_000
	watchBytes    = 64 << 20
)

// WatchMessages shows the messages that are published to the exchange, until no more
// are wanted or ctx ends, which is no error. It reads from a queue of its own, which is
// deleted at the end. If the exchange does not exist yet, it waits for it.
func WatchMessages(ctx context.Context, o Options, w relay.Watch) error {
	o, as, err := o.complete()
	switch {
	case err != nil:
		return err
	case o.Exchange == "":
		return errors.New("the default exchange hands each message to one queue, and no copy to anybody: name another one in OUTBOX_RABBITMQ_EXCHANGE")
	case w.All:
		return errors.New("RabbitMQ gives a new queue only what is published from now on: leave --all out")
	}
	if w.Pattern == "" {
		w.Pattern = everything
	}
	var errs []error
	for _, a := range as {
		s := newExaminer(o, a)
		if err := s.connect(ctx); err != nil {
			errs = append(errs, fmt.Errorf("connect to RabbitMQ at %s: %w", a.host, withAdvice(err, o, a)))
			continue
		}
		defer s.leave()
		// The library ignores contexts, but it stops waiting when the connection ends.
		defer context.AfterFunc(ctx, func() { s.socket.cut(ctx.Err()) })()
		if err := s.watchExchange(ctx, w); ctx.Err() == nil {
			return err
		}
		return nil
	}
	return errors.Join(errs...)
}

// watchExchange hands over what comes to a queue that is bound to the exchange.
func (s *session) watchExchange(ctx context.Context, w relay.Watch) error {
	if err := s.awaitExchange(ctx, w); err != nil {
		return err
	}
	ch, err := s.conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	queue, err := ch.QueueDeclare("", false, true, true, false, amqp.Table{"x-max-length": watchMessages, "x-max-length-bytes": watchBytes})
	if err != nil {
		return fmt.Errorf("declare a queue: %w", err)
	}
	if err := ch.QueueBind(queue.Name, w.Pattern, s.options.Exchange, false, nil); err != nil {
		return fmt.Errorf("bind queue %q to exchange %q: %w", queue.Name, s.options.Exchange, err)
	}
	if err := ch.Qos(watchPrefetch, 0, false); err != nil {
		return fmt.Errorf("set prefetch: %w", err)
	}
	messages, err := ch.ConsumeWithContext(ctx, queue.Name, "", false, true, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume from queue %q: %w", queue.Name, err)
	}
	w.Say(fmt.Sprintf("watching %s on exchange %s, by a queue that ends with this; meanwhile a message that no other queue takes counts as delivered",
		w.Pattern, s.options.Exchange))
	for m := range messages {
		if !w.Take(arrivalOf(&m)) {
			return nil
		}
		if err := m.Ack(false); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	return errors.New("the broker has ended the connection, or the queue")
}

func (s *session) awaitExchange(ctx context.Context, w relay.Watch) error {
	again := time.NewTicker(exchangeAgain)
	defer again.Stop()
	o := s.options
	o.Topology = Verify // a watch changes nothing
	for said := false; ; said = true {
		err := checkExchange(s.conn, o)
		if !errors.Is(err, errNoExchange) {
			return err
		}
		if !said {
			w.Say(fmt.Sprintf("exchange %q does not exist yet: waiting for it", o.Exchange))
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func arrivalOf(m *amqp.Delivery) *relay.Arrival {
	a := &relay.Arrival{Topic: m.RoutingKey, MessageID: m.MessageId, ContentType: m.ContentType, Payload: m.Body, At: m.Timestamp}
	for name, value := range m.Headers {
		text, isText := value.(string)
		if !isText {
			text = fmt.Sprint(value)
		}
		if name == headerKey {
			a.Key = &text
			continue
		}
		a.Headers = append(a.Headers, relay.Header{Name: name, Value: text})
	}
	slices.SortFunc(a.Headers, func(x, y relay.Header) int { return strings.Compare(x.Name, y.Name) })
	return a
}
