package natsjs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Names of the checks.
const (
	nameBroker = "broker"
	nameTopic  = "stream of "      // a topic
	nameStream = "stream "         // its name
	nameFast   = "fast-ingest of " // a stream
	nameRights = "broker's rights" // to look up streams
)

// Examine checks whether the broker takes messages, whether a stream has each of
// the topics, and whether the configuration of these streams is safe. It changes
// and publishes nothing. Its fixes are commands of the nats program.
func Examine(ctx context.Context, o Options, topics []string) []relay.Check {
	o, as, err := o.complete()
	if err != nil {
		return []relay.Check{{
			Name: nameBroker, Severity: relay.Fault, Found: err.Error(),
			Fix: "set OUTBOX_SINK_URL, OUTBOX_NATS_* and OUTBOX_TLS_* to what is there and goes together",
		}}
	}
	s, err := openSession(ctx, o, as.servers(nil), requeuing{func(item) bool { return false }, new(atomic.Uint64)})
	if err != nil {
		found := fmt.Errorf("connect to NATS at %s: %w", as, err)
		return []relay.Check{{
			Name: nameBroker, Severity: relay.Fault, Found: found.Error(),
			Fix: cmp.Or(advise(err, o), "start NATS at "+as.String()+", or set OUTBOX_SINK_URL to where it listens"),
		}}
	}
	defer s.end()
	x := &examination{session: s, as: as, streams: make(map[string]*examinedStream)}
	examinable := x.broker(ctx)
	_, noTLS := s.conn.TLSConnectionState()
	x.add(newPeer(s.socket.conn, noTLS == nil).Check())
	if examinable {
		x.topics(ctx, topics)
	}
	return x.checks
}

type examination struct {
	*session
	as      addresses
	checks  []relay.Check
	streams map[string]*examinedStream
}

func (x *examination) add(c relay.Check) { x.checks = append(x.checks, c) }

// broker checks the broker, and returns whether its streams can be examined.
func (x *examination) broker(ctx context.Context) bool {
	c := relay.Check{Name: nameBroker, Found: fmt.Sprintf("NATS %s at %s, with JetStream", x.conn.ConnectedServerVersion(), x.address)}
	_, err := ask(ctx, x.session, askAccount, x.js.AccountInfo)
	switch {
	case err == nil:
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		c.Severity, c.Found = relay.Fault, fmt.Sprintf("NATS server %s runs without JetStream", x.address)
		c.Fix = "start it with -js, or with jetstream: true in its configuration"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		c.Severity, c.Found = relay.Fault, fmt.Sprintf("NATS server %s has no JetStream for this account", x.address)
		c.Fix = "enable JetStream for the account there, or set OUTBOX_SINK_URL to another user"
	case errors.Is(err, errDenied):
		c.Found = fmt.Sprintf("NATS %s at %s", x.conn.ConnectedServerVersion(), x.address)
	case isAnswer(err):
		c.Severity = relay.Warning
		c.Found = fmt.Sprintf("JetStream at %s cannot be asked, so streams were not examined, though they may take messages: %v", x.address, err)
		c.Fix = "look at the server's log: most of the cluster's servers have to be there"
	default:
		c.Severity, c.Found = relay.Fault, fmt.Sprintf("JetStream at %s does not answer: %v", x.address, err)
		c.Fix = "look at the server's log: a cluster without a quorum takes no messages"
	}
	x.add(c)
	return c.Severity == relay.Fine
}

// topics looks up each topic. Topics that no stream has, and that have the same first
// token, get one common fix, because they will get one stream.
func (x *examination) topics(ctx context.Context, topics []string) {
	var homeless []string
	for _, topic := range topics {
		if err := checkTopic(topic, x.options.InboxPrefix); err != nil {
			x.add(relay.Check{
				Name: nameTopic + topic, Severity: relay.Warning,
				Found: fmt.Sprintf("no subject of NATS, so its rows will be dead: %v", err),
			})
			continue
		}
		name, err := ask(ctx, x.session, askNames, func(ctx context.Context) (string, error) { return x.js.StreamNameBySubject(ctx, topic) })
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			homeless = append(homeless, topic)
		case errors.Is(err, errDenied):
			x.add(relay.Check{
				Name: nameRights, Severity: relay.Warning,
				Found: "the user may not look up streams, so they were not examined, and a topic without a stream is found out late",
				Fix:   "allow the user to publish to $JS.API.STREAM.NAMES and $JS.API.STREAM.INFO.*",
			})
			return
		case err != nil:
			x.add(relay.Check{Name: nameTopic + topic, Severity: relay.Warning, Found: fmt.Sprintf("cannot be looked up: %v", err)})
		default:
			x.add(x.stream(ctx, name).topic(topic))
		}
	}
	for _, topic := range homeless {
		x.noStream(ctx, topic, homeless)
	}
}

func (x *examination) noStream(ctx context.Context, topic string, homeless []string) {
	c := relay.Check{Name: nameTopic + topic, Severity: relay.Fault, Found: "no stream has it"}
	if x.options.Topology == Create {
		c.Severity, c.Found = relay.Fine, fmt.Sprintf("none yet: it will be added to stream %s (OUTBOX_TOPOLOGY=create)", x.options.StreamName)
		x.add(c)
		return
	}
	first, _, _ := strings.Cut(topic, ".")
	var subjects []string
	for _, other := range homeless {
		if other == first || strings.HasPrefix(other, first+".") {
			subjects = append(subjects, other)
		}
	}
	// The new stream gets all subjects that begin with the token, unless another stream
	// has one of them.
	_, err := ask(ctx, x.session, askNames, func(ctx context.Context) (string, error) {
		return x.js.StreamNameBySubject(ctx, first+".>")
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		subjects = slices.DeleteFunc(subjects, func(s string) bool { return s != first })
		subjects = append(subjects, first+".>")
	}
	c.Fix = fmt.Sprintf("nats stream add %s --subjects=%s --storage=file --dupe-window=2m --defaults",
		x.freeName(ctx, first), relay.ShellQuote(strings.Join(subjects, ",")))
	x.add(c)
}

// freeName makes a name for a stream from a token. No stream has that name yet.
func (x *examination) freeName(ctx context.Context, token string) string {
	base := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, strings.ToUpper(token))
	for name := range candidates(base) {
		_, err := ask(ctx, x.session, askInfo+name, func(ctx context.Context) (jetstream.Stream, error) { return x.js.Stream(ctx, name) })
		if err != nil { // most likely there is no such stream; if there is one, the command fails and says so
			return name
		}
	}
	return base
}

func candidates(base string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range 10 {
			name := base
			if i > 0 {
				name = fmt.Sprintf("%s_%d", base, i+1)
			}
			if !yield(name) {
				return
			}
		}
	}
}
