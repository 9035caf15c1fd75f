package rabbitmq

import (
	"errors"
	"fmt"
	"math"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// createdQueue is the queue that Create declares.
	createdQueue = "outbox"
	// deliveryLimit is how often a consumer may put a message of that queue back. The
	// queue has no dead-letter exchange, so RabbitMQ drops messages that come back more
	// often. From 4.0 on the default is 20: a consumer that fails for a minute would
	// lose messages that the relay has marked sent. This value is as good as no limit.
	// (-1 means no limit, but RabbitMQ 3.13 does not know it.) A policy may lower it.
	deliveryLimit = math.MaxInt32
)

var errNoExchange = errors.New("does not exist")

// checkExchange checks that the exchange exists, or creates it if the topology says so.
// It uses a channel of its own, because the broker closes the channel if the exchange
// does not exist.
func checkExchange(conn *amqp.Connection, o Options) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	defer ch.Close() // after a refusal it is closed already
	switch {
	case o.Exchange == "":
		return nil // the default exchange always exists; the open channel shows that the broker answers
	case o.Topology == Create:
		return create(conn, ch, o.Exchange)
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
func create(conn *amqp.Connection, ch *amqp.Channel, exchange string) error {
	if err := ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare durable topic exchange %q: %w", exchange, err)
	}
	if err := createQueue(conn, ch); err != nil {
		return err
	}
	if err := ch.QueueBind(createdQueue, "#", exchange, false, nil); err != nil {
		return fmt.Errorf("bind queue %q to exchange %q: %w", createdQueue, exchange, err)
	}
	return nil
}

// createQueue declares the queue unless there is one of that name, of whatever kind:
// the broker refuses to declare a queue again with other arguments, and an earlier
// relay, or the application, may have made the queue without a delivery limit.
func createQueue(conn *amqp.Connection, ch *amqp.Channel) error {
	look, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	defer look.Close() // closed already by the broker if there is no such queue
	if _, err := look.QueueDeclarePassive(createdQueue, true, false, false, false, nil); !isCode(err, amqp.NotFound) {
		if err != nil {
			return fmt.Errorf("look for queue %q: %w", createdQueue, err)
		}
		return nil
	}
	arguments := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": deliveryLimit}
	if _, err := ch.QueueDeclare(createdQueue, true, false, false, false, arguments); err != nil {
		return fmt.Errorf("declare quorum queue %q: %w", createdQueue, err)
	}
	return nil
}

func isCode(err error, code int) bool {
	reply, ok := errors.AsType[*amqp.Error](err)
	return ok && reply.Code == code
}
