package rabbitmq

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// examineRights checks whether this user may publish to the exchange, and which of the
// topics.
func (s *session) examineRights(ctx context.Context, topics []string) []relay.Check {
	name := relay.Quote(s.options.Exchange)
	if len(topics) == 0 {
		topics = []string{"outbox-relay.doctor"}
	}
	var checks []relay.Check
	for _, topic := range topics[:min(len(topics), mostTopics)] {
		if len(topic) > maxShortString {
			checks = append(checks, relay.Check{
				Name: "topic", Severity: relay.Fault,
				Found: fmt.Sprintf("topic %s is too long for a routing key, which takes %d bytes: its rows are dead at once", relay.Quote(topic), maxShortString),
				Fix:   "let the application write shorter topics",
			})
			continue
		}
		switch err := s.wouldRefuse(ctx, topic); {
		case err == nil || err.Code != amqp.AccessRefused: // the user may publish, or the broker did not answer
		case isInternal(err.Reason):
			return []relay.Check{{
				Name: "exchange rights", Severity: relay.Fault,
				Found: fmt.Sprintf("exchange %s is internal: it takes messages only from other exchanges", name),
				Fix:   "name another exchange in OUTBOX_RABBITMQ_EXCHANGE, or delete this one and declare it anew, not internal",
			}}
		case refusesExchange(err.Reason):
			return []relay.Check{{
				Name: "exchange rights", Severity: relay.Fault,
				Found: fmt.Sprintf("user %q may not write to exchange %s", s.address.user, name),
				Fix:   s.address.grantWrite(s.options.Exchange),
			}}
		default:
			checks = append(checks, relay.Check{
				Name: "topic", Severity: relay.Fault,
				Found: fmt.Sprintf("user %q may not publish topic %s: %s", s.address.user, relay.Quote(topic), relay.Quote(err.Reason)),
				Fix: fmt.Sprintf("rabbitmqctl list_user_topic_permissions %s  # and set_topic_permissions with the topic added to the pattern for writing",
					relay.ShellQuote(s.address.user)),
			})
		}
	}
	if len(checks) == 0 {
		checks = append(checks, relay.Check{Name: "exchange rights", Found: fmt.Sprintf("user %q may write to exchange %s%s", s.address.user, name, s.unknownTopics())})
	}
	return checks
}

// unknownTopics says so where nothing is known of the rights to topics. Since version 3.13
// the broker looks at them last, and so only if it would take the message.
func (s *session) unknownTopics() string {
	var major, minor int
	version := s.version()
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n == 2 && (major < 3 || major == 3 && minor < 13) {
		return ""
	}
	return fmt.Sprintf(". Whether each topic is permitted, RabbitMQ %s tells only of messages that it takes: see rabbitmqctl list_user_topic_permissions %s",
		version, relay.ShellQuote(s.address.user))
}

// wouldRefuse publishes a message of the topic, and returns why the broker closes the
// channel. The broker never takes this message, because its expiration and its user are
// invalid. It checks these after the right to the exchange (and before 3.13 after those to
// the topic), so its reason shows whether a right is missing. Nil: the broker did not answer.
func (s *session) wouldRefuse(ctx context.Context, topic string) *amqp.Error {
	ch, err := s.conn.Channel()
	if err != nil {
		return nil
	}
	defer ch.Close()
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	err = ch.PublishWithContext(ctx, s.options.Exchange, topic, false, false, amqp.Publishing{UserId: "outbox-relay doctor", Expiration: "never taken"})
	if err != nil {
		return nil
	}
	timer := time.NewTimer(connectTimeout)
	defer timer.Stop()
	select {
	case reason := <-closes:
		return reason
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// grantWrite returns a command that adds the exchange to the user's right to write, and
// keeps the other rights. The command set_permissions would replace them.
func (a address) grantWrite(exchange string) string {
	if exchange == "" {
		exchange = "amq.default"
	}
	user, vhost := erlangBinary(a.user), erlangBinary(a.vhost)
	pattern := erlangBinary("^" + quotePattern(exchange) + "$")
	return evalCommand(fmt.Sprintf(`[P] = rabbit_auth_backend_internal:list_user_vhost_permissions(%[1]s, %[2]s), `+
		`[C, W, R] = [proplists:get_value(K, P) || K <- [configure, write, read]], N = %[3]s, `+
		`rabbit_auth_backend_internal:set_permissions(%[1]s, %[2]s, C, `+
		`case W of <<>> -> N; _ -> <<W/binary, $|, N/binary>> end, R, <<"outbox-relay">>).`, user, vhost, pattern))
}

// quotePattern returns a regular expression that matches a name. It puts special
// characters in brackets, which need no quoting in Erlang.
func quotePattern(name string) string {
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(`\.+*?()|[]{}^$`, r) {
			fmt.Fprintf(&b, "[%s]", strings.NewReplacer(`\`, `\\`, `^`, `\^`, `[`, `\[`, `]`, `\]`).Replace(string(r)))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// notAllowed returns what to do about a connection that the broker does not allow,
// which has several causes.
func (a address) notAllowed(text string) string {
	user, vhost := relay.ShellQuote(a.user), relay.ShellQuote(a.vhost)
	// set_permissions replaces the rights of the user. Here there are none: otherwise
	// the broker would not refuse the virtual host.
	grant := fmt.Sprintf("rabbitmqctl set_permissions -p %s %s '' '.*' ''", vhost, user)
	switch {
	case strings.Contains(text, "number of channels"):
		return fmt.Sprintf(`rabbitmqctl set_user_limits %s '{"max-channels": %d}'`, user, limitIn(text)+channelsNeeded)
	case strings.Contains(text, "limit") && strings.Contains(text, "vhost"):
		return fmt.Sprintf(`rabbitmqctl set_vhost_limits -p %s '{"max-connections": -1}'`, vhost)
	case strings.Contains(text, "limit"):
		return fmt.Sprintf(`rabbitmqctl set_user_limits %s '{"max-connections": -1}'`, user)
	case strings.Contains(text, "not found"):
		return fmt.Sprintf("rabbitmqctl add_vhost %s && %s", vhost, grant)
	case strings.Contains(text, "access to vhost"), strings.Contains(text, amqp.ErrVhost.Reason):
		return grant
	}
	return "see the log of RabbitMQ"
}

// channelsNeeded is the largest number of channels that a relay uses: those of its
// writers (twice, while they are replaced), those of late topics, and those for
// questions.
const channelsNeeded = 2*(defaultChannels+1) + lateChannels + 2

var limitPattern = regexp.MustCompile(`user limit of \((\d{1,9})\)`)

// limitIn returns the limit that the broker's reason names, or 0. All connections of
// the user share this limit, also those of other relays. A further connection needs its
// channels in addition.
func limitIn(reason string) int {
	m := limitPattern.FindStringSubmatch(reason)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // a few digits
	return n
}
