package e2e_test

import (
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

const stoppedTopic = "oracle.stopped"

// stopQueue declares another queue, of which the messages to stoppedTopic are too, and
// stops it: RabbitMQ confirms none of them until resume.
func (w *rabbitWorld) stopQueue() (stop, resume func()) {
	w.t.Helper()
	name := w.role + ".stopped"
	w.admin(func(ch *amqp.Channel) error {
		args := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-max-length": 10_000}
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			return err
		}
		return ch.QueueBind(name, stoppedTopic, w.exchange, false, nil)
	})
	process := func(do string) {
		w.ctl("eval", `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"`+name+`">>)), sys:`+do+`(amqqueue:get_pid(Q)).`)
	}
	resume = sync.OnceFunc(func() { process("resume") })
	return func() {
		process("suspend")
		w.t.Cleanup(resume) // also after a failure: the node could not be stopped
	}, resume
}

// A quorum queue takes no commands, and half of the rows go to it. The others arrive, and
// no attempt is counted against any of them. The rows of the stopped queue wait in the
// table: few of them are tried, and the status names their topic. Order holds across
// topics: half of the keys have rows of both. When the queue goes on, all arrive.
func TestRabbitMQStoppedQueueStopsNoOtherTopic(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	stop, resume := w.stopQueue()
	others := w.load(oracle.Load{Rate: 200, Seed: 91})
	mixed := w.load(oracle.Load{Rate: 200, Seed: 92, Prefix: "mixed", Keys: 500, Topics: []string{stoppedTopic, "oracle.a"}})
	relay := w.relay("OUTBOX_ACK_TIMEOUT", "3s")
	w.awaitMarked(1000)
	stop()
	const ofOthers = `topic <> '` + stoppedTopic + `' AND key NOT LIKE 'mixed %'`
	w.await("the status names the topic", func() bool {
		s := w.status(relay)
		return s.LateTopics == 1 && len(s.Late) == 1 && s.Late[0].Topic == stoppedTopic && s.Ready
	})
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool { return r.LateTopics == 1 },
		above:  []string{"outbox_late_topics"},
		log:    []string{`"level":"WARN"`, "messages of some topics are late", stoppedTopic},
	})
	atFirst := w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL AND ` + ofOthers)
	w.await("the others arrive", func() bool {
		return w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL AND `+ofOthers) >= atFirst+1000
	})
	waiting := w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NULL AND topic = $1`, stoppedTopic)
	attempts := w.count(`SELECT coalesce(sum(attempts), 0) FROM {outbox} WHERE topic = $1`, stoppedTopic)
	t.Logf("while the queue is stopped: %d rows of it wait, %d attempts", waiting, attempts)
	// A window of them may have been written before the topic was known to be late.
	if waiting < 200 || attempts > window+100 {
		t.Errorf("%d rows of the stopped queue wait, and %d attempts were counted", waiting, attempts)
	}
	if n := w.count(`SELECT count(*) FROM {outbox} WHERE attempts > 0 AND topic <> $1`, stoppedTopic); n > 0 {
		t.Errorf("%d rows of other topics have attempts", n)
	}
	// A relay that starts now knows nothing of that. The first message to the queue stops
	// its channel.
	relay.Terminate()
	relay = w.relay("OUTBOX_ACK_TIMEOUT", "3s")
	atFirst = w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL AND ` + ofOthers)
	w.await("the others arrive", func() bool {
		return w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL AND `+ofOthers) >= atFirst+1000
	})
	if n := w.count(`SELECT count(*) FROM {outbox} WHERE attempts > 0 AND topic <> $1`, stoppedTopic); n > 0 {
		t.Errorf("%d rows of other topics have attempts", n)
	}
	resume()
	w.stop(others, 1000)
	w.stop(mixed, 1000)
	w.awaitDrained()
	w.await("the status names no topic", func() bool { return w.status(relay).LateTopics == 0 })
	relay.Terminate()
	attempts = w.count(`SELECT coalesce(sum(attempts), 0) FROM {outbox}`)
	w.verdict(oracle.Limits{Redeliveries: attempts + 6*window}) // each relay gives its connection up once
}
