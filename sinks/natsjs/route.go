package natsjs

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// route is a stream, and whether messages may go there in batches.
type route struct {
	stream   string
	subjects []string
	batches  bool      // the stream allows them
	until    time.Time // when it is looked up again
	current  *lane     // the lane that the next message joins; it may have ended

	// fenced says that the stream has stored a message that was published alone since
	// the last doubt. This message is the fence: everything that was published before
	// it is then committed or gone. Batches need that. A stream with replicas may have
	// an earlier publish of a message that is not committed. If the message comes again
	// in a batch, the stream takes it for a duplicate and acknowledges it. If the
	// stream's leader is then lost, so is the message.
	fenced bool
	// doubt is the number of the last publish before the newest doubt.
	doubt uint64

	broke  int       // batches that ended early since one did not
	paused time.Time // until when there are no batches
}

// Bounds of what is kept about streams.
const (
	routeAge    = 30 * time.Second // how long a stream's configuration is believed
	nowhereAge  = 5 * time.Second  // how long nothing is asked after a look-up found nothing
	routesKept  = 1000             // topics; an application may make up thousands
	routesAsked = 64               // questions that wait
	leastPause  = 100 * time.Millisecond
	mostPause   = 5 * time.Second
)

// routes has the streams that are known, and the topics that go to them. The caller
// holds the lock of the lanes.
type routes struct {
	streams map[string]*route    // by name
	topics  map[string]*route    // found before
	nowhere map[string]time.Time // topics that no stream was found for, and until when they are not looked up
	mute    time.Time            // until when nothing is asked, because JetStream does not answer
	// alone are topics of which a message was not taken in a batch. Their messages are
	// published alone until one is acknowledged, so that they end no further batch.
	alone map[string]bool
	asked map[question]bool // questions that wait for an answer
	ask   chan question
	// attentive says that acknowledgements of messages that are published alone matter
	// to a route, because it needs a fence, or to a topic in alone.
	attentive atomic.Bool
}

// question is about the stream with that name, or, if the name is empty, about the
// stream that has the topic.
type question struct{ stream, topic string }

func newRoutes() routes {
	return routes{
		streams: make(map[string]*route), topics: make(map[string]*route), nowhere: make(map[string]time.Time),
		alone: make(map[string]bool), asked: make(map[question]bool), ask: make(chan question, routesAsked),
	}
}

// of returns the route of a topic. If it is not known, of returns nil and has it looked
// up.
func (rs *routes) of(topic string) *route {
	if r := rs.topics[topic]; r != nil {
		return r
	}
	if len(rs.topics) >= routesKept {
		clear(rs.topics)
	}
	for _, r := range rs.streams {
		for _, subject := range r.subjects {
			if matches(subject, topic) {
				rs.topics[topic] = r
				return r
			}
		}
	}
	if until, known := rs.nowhere[topic]; !known || time.Now().After(until) {
		rs.lookUp(question{topic: topic})
	}
	return nil
}

// lookUp has a question put, unless it waits already, or too many questions do.
func (rs *routes) lookUp(q question) {
	if rs.asked[q] || len(rs.asked) >= routesAsked || time.Now().Before(rs.mute) {
		return
	}
	rs.asked[q] = true
	rs.ask <- q // does not block: it has room for routesAsked
}

// refresh has streams looked up again whose configuration may have changed.
func (rs *routes) refresh(now time.Time) {
	for name, r := range rs.streams {
		if now.After(r.until) {
			rs.lookUp(question{stream: name})
		}
	}
}

// takes says whether a message of the topic may go in a batch.
func (rs *routes) takes(r *route, topic string) bool {
	return r.batches && r.fenced && !rs.alone[topic] && (r.paused.IsZero() || time.Now().After(r.paused))
}

// noteAcknowledged notes that a message that was published alone was acknowledged.
// first is the number of its first publish.
func (rs *routes) noteAcknowledged(topic string, first uint64, stored bool) {
	delete(rs.alone, topic)
	if r := rs.of(topic); r != nil && stored && first > r.doubt {
		r.fenced = true
	}
	rs.attend()
}

// noteDoubt notes that a message of the topic was not taken, or may be in process. The
// topic's next message is then published alone, and its stream needs a new fence. last
// is the number of the last publish so far.
func (rs *routes) noteDoubt(r *route, topic string, last uint64) {
	if len(rs.alone) < routesKept {
		rs.alone[topic] = true
	}
	if r == nil {
		r = rs.topics[topic]
	}
	if r != nil {
		r.fenced, r.doubt = false, last
	}
	rs.attend()
}

// noteBroken does what noteDoubt does, for a batch that has ended early. If many
// batches do, as on a full stream, messages are published alone for a while. Otherwise
// each batch would settle one message, and the rest would be published again and again.
func (rs *routes) noteBroken(r *route, topic string, last uint64) {
	if r.fenced {
		if r.broke++; r.broke > 1 {
			r.paused = time.Now().Add(min(mostPause, leastPause<<min(r.broke-2, 10)))
		}
	}
	rs.noteDoubt(r, topic, last)
}

// attend sets attentive.
func (rs *routes) attend() {
	wanted := len(rs.alone) > 0
	for _, r := range rs.streams {
		wanted = wanted || r.batches && !r.fenced
	}
	rs.attentive.Store(wanted)
}

// learn processes the answer to a question. found is false if there is no such stream.
func (rs *routes) learn(q question, c jetstream.StreamConfig, found bool, now time.Time) {
	delete(rs.asked, q)
	clear(rs.topics) // subjects may have moved
	switch {
	case !found && q.stream != "":
		delete(rs.streams, q.stream)
	case !found:
		if len(rs.nowhere) >= routesKept {
			clear(rs.nowhere)
		}
		rs.nowhere[q.topic] = now.Add(nowhereAge)
	default:
		delete(rs.nowhere, q.topic)
		r := rs.streams[c.Name]
		if r == nil {
			r = &route{stream: c.Name}
			rs.streams[c.Name] = r
		}
		r.subjects, r.until = c.Subjects, now.Add(routeAge)
		r.batches = c.AllowBatchPublish && !c.NoAck && !c.Sealed
	}
	rs.attend()
}

// appeared notes that the sink has given the topic a stream. It is looked up with the next
// message, and not only when the last answer is old.
func (ls *lanes) appeared(topic string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.nowhere, topic)
}

// fail notes that a question was not answered, or was not permitted.
func (rs *routes) fail(q question, now time.Time) {
	delete(rs.asked, q)
	rs.mute = now.Add(nowhereAge)
	for len(rs.ask) > 0 {
		delete(rs.asked, <-rs.ask)
	}
	if r := rs.streams[q.stream]; r != nil {
		r.until = now.Add(nowhereAge)
	}
}

// lookUpRoutes answers questions until ctx ends.
func (s *session) lookUpRoutes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-s.lanes.ask:
			c, err := s.streamOf(ctx, q)
			s.lanes.answer(q, c, err, time.Now())
		}
	}
}

// streamOf returns the configuration of the stream that is asked about.
func (s *session) streamOf(ctx context.Context, q question) (jetstream.StreamConfig, error) {
	name, err := q.stream, error(nil)
	if name == "" {
		name, err = ask(ctx, s, askNames, func(ctx context.Context) (string, error) { return s.js.StreamNameBySubject(ctx, q.topic) })
		if err != nil {
			return jetstream.StreamConfig{}, err
		}
	}
	stream, err := ask(ctx, s, askInfo+name, func(ctx context.Context) (jetstream.Stream, error) { return s.js.Stream(ctx, name) })
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	return stream.CachedInfo().Config, nil
}

// answer notes what came of a question.
func (ls *lanes) answer(q question, c jetstream.StreamConfig, err error, now time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	switch {
	case errors.Is(err, errDenied) && q.topic != "":
		ls.learn(q, c, false, now)
		ls.nowhere[q.topic] = now.Add(routeAge)
		return
	case err != nil && !errors.Is(err, jetstream.ErrStreamNotFound):
		ls.fail(q, now)
		return
	}
	ls.learn(q, c, err == nil, now)
}
