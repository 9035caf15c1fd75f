package rabbitserver

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// QueueLength counts the messages that are ready in a queue. It does not trust the
// broker's word that there are none: of a quorum queue whose leader does not answer
// within a quarter of a second, such as after a restart or on a busy machine,
// RabbitMQ says that it is empty. A message that is found all the same goes back to
// its place before anything that the channel does next.
func QueueLength(ch *amqp.Channel, queue string) (int, error) {
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return 0, fmt.Errorf("look up queue %s: %w", queue, err)
	}
	if q.Messages > 0 {
		return q.Messages, nil
	}
	d, found, err := ch.Get(queue, false)
	if err != nil {
		return 0, fmt.Errorf("look into queue %s: %w", queue, err)
	}
	if !found {
		return 0, nil
	}
	if err := d.Nack(false, true); err != nil {
		return 0, fmt.Errorf("give back to queue %s: %w", queue, err)
	}
	return int(d.MessageCount) + 1, nil
}
