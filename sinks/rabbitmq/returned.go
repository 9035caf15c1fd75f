package rabbitmq

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// returned has the messages that the broker returned, until their confirms come. They
// are matched by message id and routing key. Two rows may share an id, so equal returns
// are counted.
type returned struct {
	texts map[returnKey][]string
}

type returnKey struct{ id, topic string }

func keyOf(m *relay.Message) returnKey { return returnKey{m.MessageID.String(), m.Topic} }

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

// has returns whether there is a return of the message.
func (r *returned) has(m *relay.Message) bool {
	return len(r.texts) > 0 && len(r.texts[keyOf(m)]) > 0
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
