package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Examine checks what the relay needs of RabbitMQ for the topics of the table. It
// changes and publishes nothing. AMQP does not show bindings, topic permissions and
// alarms to a client that does not publish. The checks say so.
func Examine(ctx context.Context, o Options, topics []string) []relay.Check {
	o, as, err := o.complete()
	if err != nil {
		return []relay.Check{{Name: "RabbitMQ connection", Severity: relay.Fault, Found: err.Error(), Fix: "correct OUTBOX_SINK_URL and OUTBOX_TLS_*"}}
	}
	var checks, encryption []relay.Check
	var examiner *session
	for _, a := range as {
		s := newExaminer(o, a)
		if err := s.connect(ctx); err != nil {
			checks = append(checks, unreachable(o, a, err))
			continue
		}
		checks = append(checks, relay.Check{
			Name:  "RabbitMQ connection",
			Found: fmt.Sprintf("connected to %s, RabbitMQ %s, virtual host %q, as %s", a.host, s.version(), a.vhost, login(o, a)),
		})
		encryption = append(encryption, a.peer(s.socket).Check())
		if examiner != nil {
			s.leave()
			continue
		}
		examiner = s
	}
	if examiner == nil {
		return checks
	}
	defer examiner.leave()
	// The library ignores contexts, but it stops waiting when the connection ends.
	defer context.AfterFunc(ctx, func() { examiner.socket.cut(ctx.Err()) })()
	if len(checks) > 1 {
		for i := range checks { // one of several nodes is down: that is only a risk
			checks[i].Severity = min(checks[i].Severity, relay.Warning)
		}
	}
	exchange := examiner.examineExchange()
	checks = append(append(checks, encryption...), exchange)
	if exchange.Severity == relay.Fine {
		checks = append(checks, examiner.examineRights(ctx, topics)...)
	}
	return append(checks, examiner.examineTopics(topics)...)
}

// newExaminer returns a session without channels.
func newExaminer(o Options, a address) *session {
	return &session{options: o, address: a, life: newLife(a)}
}

func (s *session) leave() {
	s.socket.cutLater(goodbye)
	_ = s.conn.Close()
	s.socket.cut(errClosing)
	<-s.socket.done
}

func login(o Options, a address) string {
	if o.external(a) {
		return "the user of the client certificate"
	}
	return fmt.Sprintf("user %q", a.user)
}

func unreachable(o Options, a address, err error) relay.Check {
	c := relay.Check{Name: "RabbitMQ connection", Severity: relay.Fault, Found: fmt.Sprintf("%s: %v", a.host, err)}
	switch {
	case errors.Is(err, amqp.ErrSASL):
		c.Fix = "rabbitmq-plugins enable rabbitmq_auth_mechanism_ssl, and auth_mechanisms.1 = EXTERNAL in rabbitmq.conf; or give a user in OUTBOX_SINK_URL"
	case o.external(a) && isRefusedLogin(err):
		c.Fix = refusedCertificate
	case isRefusedLogin(err):
		c.Found = fmt.Sprintf("%s does not take %s and its password", a.host, login(o, a))
		user := relay.ShellQuote(a.user)
		c.Fix = fmt.Sprintf("rabbitmqctl add_user %s \"$PASSWORD\" || rabbitmqctl change_password %s \"$PASSWORD\"", user, user)
	case errors.Is(err, amqp.ErrVhost), strings.Contains(err.Error(), "NOT_ALLOWED"):
		c.Fix = a.notAllowed(err.Error())
	default:
		c.Fix = cmp.Or(relay.BrokerFix(err), "start RabbitMQ, or correct OUTBOX_SINK_URL")
	}
	return c
}

func (s *session) examineExchange() relay.Check {
	c := relay.Check{Name: "exchange"}
	name := s.options.Exchange
	if name == "" {
		c.Found = "the default exchange, which routes to the queue named like the topic"
		return c
	}
	o := s.options
	o.Topology = Verify // doctor creates nothing
	err := checkExchange(s.conn, o)
	switch {
	case errors.Is(err, errNoExchange) && s.options.Topology == Create:
		c.Found = fmt.Sprintf("exchange %q does not exist; the relay makes it (OUTBOX_TOPOLOGY=create)", name)
	case errors.Is(err, errNoExchange):
		c.Severity = relay.Fault
		c.Found = fmt.Sprintf("exchange %q does not exist in virtual host %q", name, s.address.vhost)
		c.Fix = evalCommand(fmt.Sprintf(`rabbit_exchange:declare(rabbit_misc:r(%s, exchange, %s), topic, true, false, false, [], <<"outbox-relay">>).`,
			erlangBinary(s.address.vhost), erlangBinary(name)))
	case err != nil:
		c.Severity, c.Found = relay.Fault, err.Error()
	default:
		c.Found = fmt.Sprintf("exchange %q exists; AMQP tells neither its type nor whether it is durable: rabbitmqctl list_exchanges -p %s name type durable; "+
			"one of type x-delayed-message gives back what it delays, which is then sent again: use available_at instead of the header x-delay",
			name, relay.ShellQuote(s.address.vhost))
	}
	return c
}

// evalCommand returns a shell command that makes the broker evaluate an expression.
func evalCommand(expression string) string { return "rabbitmqctl eval " + relay.ShellQuote(expression) }

// erlangBinary writes a text as a term of Erlang, with plain characters only. Anybody
// may write a topic, so a topic must not end its literal: the broker would evaluate the
// rest. A text with other characters becomes a list of its bytes, which the shell, the
// terminal and Erlang leave as they are.
func erlangBinary(text string) string {
	special := func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' || r == '\'' }
	if !strings.ContainsFunc(text, special) {
		return `<<"` + text + `">>`
	}
	bytes := make([]string, len(text))
	for i := range len(text) {
		bytes[i] = strconv.Itoa(int(text[i]))
	}
	return "<<" + strings.Join(bytes, ",") + ">>"
}

// mostTopics bounds the topics that are examined. More of them would hardly find new
// faults.
const mostTopics = 50

func (s *session) examineTopics(topics []string) []relay.Check {
	checks := []relay.Check{{
		Name:  "alarms",
		Found: "RabbitMQ tells of memory and disk alarms only those who publish: the relay logs them and shows them in its status",
	}}
	if len(topics) == 0 {
		return checks
	}
	if s.options.Exchange != "" {
		return append(checks, relay.Check{
			Name: "routes",
			Found: fmt.Sprintf("AMQP does not tell whether a queue is bound for %s, nor topic permissions, without publishing; "+
				"a message without a queue is refused as unroutable and retried: rabbitmqctl list_bindings -p %s source_name routing_key destination_name",
				relay.Quote(strings.Join(topics, ", ")), relay.ShellQuote(s.address.vhost)),
		})
	}
	for _, topic := range topics[:min(len(topics), mostTopics)] {
		checks = append(checks, s.examineQueue(topic))
	}
	return checks
}

// examineQueue checks a topic of the default exchange: the queue of that name.
func (s *session) examineQueue(topic string) relay.Check {
	c := relay.Check{Name: "route", Found: fmt.Sprintf("topic %s has its queue", relay.Quote(topic))}
	ch, err := s.conn.Channel()
	if err != nil {
		return relay.Check{Name: "route", Severity: relay.Fault, Found: fmt.Sprintf("open channel: %v", err)}
	}
	defer ch.Close() // after a refusal it is closed already
	_, err = ch.QueueDeclarePassive(topic, true, false, false, false, nil)
	switch {
	case isCode(err, amqp.NotFound):
		c.Severity = relay.Fault
		c.Found = fmt.Sprintf("no queue is named like topic %s, and the default exchange routes by queue name", relay.Quote(topic))
		c.Fix = evalCommand(fmt.Sprintf(
			`rabbit_amqqueue:declare(rabbit_misc:r(%s, queue, %s), true, false, [{<<"x-queue-type">>, longstr, <<"quorum">>}], none, <<"outbox-relay">>).`,
			erlangBinary(s.address.vhost), erlangBinary(topic)))
	case isCode(err, amqp.ResourceLocked):
		c.Severity, c.Found = relay.Warning, fmt.Sprintf("the queue of topic %s belongs to one connection alone and ends with it", relay.Quote(topic))
	case err != nil:
		c.Severity, c.Found = relay.Warning, fmt.Sprintf("the queue of topic %s could not be examined: %v", relay.Quote(topic), err)
	}
	return c
}
