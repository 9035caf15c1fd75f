package natsjs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
)

// leastWindow is the shortest duplicate window that drops the copies after a restart of
// the relay, or after a short outage of the broker.
const leastWindow = 2 * time.Minute

// Operations of the JetStream API whose subjects end with the stream's name.
const (
	askInfo      = "STREAM.INFO."
	askConsumers = "CONSUMER.LIST."
)

// examinedStream is what was found out about a stream.
type examinedStream struct {
	name string
	// wanted are the subjects of which the stream keeps messages, if it keeps only
	// those that a consumer wants; nil: it keeps all, or its consumers are not known.
	wanted []string
}

// stream examines a stream, once.
func (x *examination) stream(ctx context.Context, name string) *examinedStream {
	if e := x.streams[name]; e != nil {
		return e
	}
	e := &examinedStream{name: name}
	x.streams[name] = e
	c := relay.Check{Name: nameStream + name}
	stream, err := ask(ctx, x.session, askInfo+name, func(ctx context.Context) (jetstream.Stream, error) { return x.js.Stream(ctx, name) })
	if err != nil {
		c.Severity, c.Found = relay.Warning, fmt.Sprintf("its configuration cannot be read: %v", err)
		x.add(c)
		return e
	}
	info := stream.CachedInfo()
	var found, fixes []string
	for _, f := range flaws(info) {
		c.Severity = max(c.Severity, f.severity)
		found = append(found, f.found)
		if f.fix != "" {
			fixes = append(fixes, edit(name)+f.fix)
		}
	}
	c.Found = strings.Join(found, "; ")
	c.Fix = strings.Join(fixes, "\n")
	if len(found) == 0 {
		c.Found = fmt.Sprintf("%d replicas, remembers message ids for %s", info.Config.Replicas, info.Config.Duplicates)
	}
	x.add(c)
	x.add(x.fastIngest(info.Config))
	if info.Config.Retention == jetstream.InterestPolicy {
		e.wanted = x.wanted(ctx, stream)
	}
	return e
}

// fastIngest says whether the stream's messages go in batches. If they do not, that is
// no fault.
func (x *examination) fastIngest(config jetstream.StreamConfig) relay.Check {
	const one = "off, so of a key one message is on its way at a time: "
	c := relay.Check{Name: nameFast + config.Name}
	switch version := x.conn.ConnectedServerVersion(); {
	case x.options.FastIngest == FastIngestOff:
		c.Found = one + "OUTBOX_NATS_FAST_INGEST=off"
	case config.AllowBatchPublish:
		c.Found = "on: of a key many messages are on their way at a time"
	case !x.knowsBatches():
		c.Found = one + "server " + version + " has no batches, 2.14 has"
	default:
		c.Fix = edit(config.Name) + "--allow-fast"
		c.Found = one + c.Fix + " switches it on"
	}
	return c
}

func edit(name string) string { return "nats stream edit " + relay.ShellQuote(name) + " --force " }

// flaw is something in a stream's configuration that loses or doubles messages. Its fix
// is a list of flags of "nats stream edit"; empty: no flag fixes it.
type flaw struct {
	severity   relay.Severity
	found, fix string
}

func flaws(info *jetstream.StreamInfo) []flaw {
	config := info.Config
	var all []flaw
	add := func(when bool, severity relay.Severity, fix, found string, args ...any) {
		if when {
			all = append(all, flaw{severity, fmt.Sprintf(found, args...), fix})
		}
	}
	short := config.MaxAge > 0 && config.MaxAge < leastWindow
	add(config.NoAck, relay.Fault, "--ack", "it acknowledges nothing")
	add(short, relay.Warning, "--max-age=2m --dupe-window=2m",
		"it keeps messages for %s only and their ids for no longer, so a redelivery after a longer fault is a duplicate", config.MaxAge)
	add(!short && config.Duplicates < leastWindow, relay.Warning, "--dupe-window=2m",
		"it remembers message ids for %s only, so a redelivery after a longer fault is a duplicate", config.Duplicates)
	add(config.Storage == jetstream.MemoryStorage, relay.Warning, "",
		"it is in memory: a restart of the server loses what was acknowledged; a stream in files has to be a new one")
	clustered := info.Cluster != nil && info.Cluster.Name != ""
	add(clustered && config.Replicas < 3, relay.Warning, "--replicas=3",
		"it has %d of the 3 replicas that outlive the loss of a server", config.Replicas)
	perSubject := config.MaxMsgsPerSubject > 0 && !config.DiscardNewPerSubject
	add(perSubject, relay.Warning, "--discard=new --discard-per-subject",
		"it keeps %d messages of a subject and acknowledges further ones by dropping the oldest, read or not", config.MaxMsgsPerSubject)
	add(!perSubject && config.Discard == jetstream.DiscardOld && (config.MaxMsgs > 0 || config.MaxBytes > 0), relay.Warning, "--discard=new",
		"when it is full it acknowledges messages by dropping the oldest, read or not; with the fix it refuses them, and their rows wait")
	return all
}

// wanted returns the subjects that the stream's consumers take, or nil if the relay may
// not list the consumers.
func (x *examination) wanted(ctx context.Context, stream jetstream.Stream) []string {
	wanted, err := ask(ctx, x.session, askConsumers+stream.CachedInfo().Config.Name, func(ctx context.Context) ([]string, error) {
		subjects := []string{} // not nil: there may be no consumer
		list := stream.ListConsumers(ctx)
		for info := range list.Info() {
			switch config := info.Config; {
			case len(config.FilterSubjects) > 0:
				subjects = append(subjects, config.FilterSubjects...)
			case config.FilterSubject != "":
				subjects = append(subjects, config.FilterSubject)
			default:
				subjects = append(subjects, ">")
			}
		}
		return subjects, list.Err()
	})
	if err != nil {
		return nil
	}
	return wanted
}

// topic says that the stream has the topic, and whether it keeps the topic's messages.
func (e *examinedStream) topic(topic string) relay.Check {
	c := relay.Check{Name: nameTopic + topic, Found: e.name}
	if e.wanted == nil {
		return c
	}
	for _, pattern := range e.wanted {
		if matches(pattern, topic) {
			return c
		}
	}
	c.Severity = relay.Fault
	c.Found = fmt.Sprintf("%s keeps messages for its consumers only (interest) and none of them has the topic: it acknowledges its messages and drops them", e.name)
	c.Fix = edit(e.name) + "--retention=limits  # or make the consumer before the messages"
	return c
}

// matches returns whether the subject matches the pattern.
func matches(pattern, subject string) bool {
	for {
		want, patternRest, more := strings.Cut(pattern, ".")
		if want == ">" && !more {
			return true
		}
		got, subjectRest, further := strings.Cut(subject, ".")
		if want != "*" && want != got || more != further {
			return false
		}
		if !more {
			return true
		}
		pattern, subject = patternRest, subjectRest
	}
}
