package rabbitmq

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// returned are the messages that the broker gave back, until their confirms come.
// They are matched by message id and routing key, and counted: two rows may
// share an id.
type returned struct {
	texts map[returnKey][]string
}

type returnKey struct{ id, topic string }

func keyOf(m *relay.Message) returnKey { return returnKey{m.MessageID.String(), m.Topic} }

// lateKey is what is kept of a message that was refused for lateness. As a text the
// id is needed only once, and many may be compared meanwhile.
type lateKey struct {
	id    relay.MessageID
	topic string
}

func (k lateKey) of(m *relay.Message) bool { return m.MessageID == k.id && m.Topic == k.topic }

// drain takes what has arrived and does not wait.
func (r *returned) drain(from <-chan amqp.Return) {
	for {
		select {
		case m, ok := <-from:
			if !ok {
				return
			}
			if r.texts == nil {
				r.texts = make(map[returnKey][]string)
			}
			key := returnKey{m.MessageId, m.RoutingKey}
			r.texts[key] = append(r.texts[key], fmt.Sprintf("%d %s", m.ReplyCode, m.ReplyText))
		default:
			return
		}
	}
}

// take says whether the message was given back, and the broker's reason.
func (r *returned) take(m *relay.Message) (text string, ok bool) {
	if len(r.texts) == 0 {
		return "", false // nearly always
	}
	return r.takeKey(keyOf(m))
}

// forget takes the return of a message that has its outcome already, if it came.
func (r *returned) forget(key lateKey) {
	if len(r.texts) > 0 {
		r.takeKey(returnKey{key.id.String(), key.topic})
	}
}

func (r *returned) takeKey(key returnKey) (text string, ok bool) {
	texts := r.texts[key]
	if len(texts) == 0 {
		return "", false
	}
	if len(texts) == 1 {
		delete(r.texts, key)
	} else {
		r.texts[key] = texts[1:]
	}
	return texts[0], true
}
