package rabbitmq

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// createdQueue is the queue that Create declares.
const createdQueue = "outbox"

var errNoExchange = errors.New("does not exist")

// checkExchange checks that the exchange exists, or creates it if the topology says
// so. It takes a channel of its own, because the broker closes the channel if the
// exchange does not exist.
func checkExchange(conn *amqp.Connection, o Options) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	defer ch.Close() // after a refusal it is closed already
	switch {
	case o.Exchange == "":
		return nil // it always exists; to open the channel was the question
	case o.Topology == Create:
		return create(ch, o.Exchange)
	}
	// Only the name counts.
	err = ch.ExchangeDeclarePassive(o.Exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	if isCode(err, amqp.NotFound) {
		return noExchange(o.Exchange)
	}
	if err != nil {
		return fmt.Errorf("look for exchange %q: %w", o.Exchange, err)
	}
	return nil
}

func noExchange(name string) error {
	return fmt.Errorf("exchange %q %w: declare it, set OUTBOX_RABBITMQ_EXCHANGE, or, for development, OUTBOX_TOPOLOGY=create", name, errNoExchange)
}

// create declares exchange, queue and binding. What exists already is left as it is.
func create(ch *amqp.Channel, exchange string) error {
	if err := ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare durable topic exchange %q: %w", exchange, err)
	}
	queue := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	if _, err := ch.QueueDeclare(createdQueue, true, false, false, false, queue); err != nil {
		return fmt.Errorf("declare quorum queue %q: %w", createdQueue, err)
	}
	if err := ch.QueueBind(createdQueue, "#", exchange, false, nil); err != nil {
		return fmt.Errorf("bind queue %q to exchange %q: %w", createdQueue, exchange, err)
	}
	return nil
}

func isCode(err error, code int) bool {
	reply, ok := errors.AsType[*amqp.Error](err)
	return ok && reply.Code == code
}
