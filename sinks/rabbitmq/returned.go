package rabbitmq

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// returned has the messages that the broker returned, until their confirms come. They
// are matched by message id and routing key, and counted, because two rows may share
// an id.
type returned struct {
	texts map[returnKey][]string
}

type returnKey struct{ id, topic string }

func keyOf(m *relay.Message) returnKey { return returnKey{m.MessageID.String(), m.Topic} }

// lateKey is what is kept of a message that was refused for lateness. It has the id as
// bytes, because it is compared with many messages and needed as text only once.
type lateKey struct {
	id    relay.MessageID
	topic string
}

func (k lateKey) of(m *relay.Message) bool { return m.MessageID == k.id && m.Topic == k.topic }

// drain takes the returns that have arrived. It does not wait.
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

// take removes a return of the message, if there is one, and returns the broker's reason.
func (r *returned) take(m *relay.Message) (text string, ok bool) {
	if len(r.texts) == 0 {
		return "", false // nearly always
	}
	return r.takeKey(keyOf(m))
}

// forget removes the return of a message that has its outcome already, if there is one.
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
