package natsjs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

var (
	errClosing      = link.ErrClosed
	errUnresponsive = errors.New("the broker has stopped answering")
	errOldServer    = errors.New("NATS server knows no headers: upgrade it to 2.10 or later")
)

// session is one connection and what is in flight on it. It ends with the
// connection's first fault.
type session struct {
	options Options
	socket  *socket
	conn    *nats.Conn
	js      jetstream.JetStream
	inbox   string // what all reply subjects begin with
	pending *pending
	lanes   *lanes
	lookup  *lookup
	denials *denials
	requeue func(item) bool // has an item written (again); false: the sink is closed
	server  server          // the server that it is connected to
	address string          // of the server, without credentials
	batches string          // what the names of its batches begin with

	life   *link.Life
	closed chan struct{} // closed when the client library is done with the connection
}

// Timing of a connection. Pings find a half-open one within three times
// pingInterval. If messages wait for acknowledgements it is found earlier.
const (
	connectTimeout = 5 * time.Second
	pingInterval   = 5 * time.Second
	pingsOut       = 2
	writeTimeout   = 10 * time.Second
)

// openSession connects to one of the servers and subscribes to the replies. It tries
// the servers one after the other itself, because the client library would verify all
// of their certificates by one name, or each by its address. It returns the last error
// of a server that was reached, or the last error if no server was.
func openSession(ctx context.Context, o Options, servers []server, q requeuing) (*session, error) {
	var told, last error
	for _, server := range shuffled(servers) {
		s, err := openSessionWith(ctx, o, server, q)
		if err == nil {
			return s, nil
		}
		if last = err; !errors.As(err, new(unreachedError)) {
			told = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if told != nil {
		return nil, told
	}
	return nil, last
}

// requeuing is what a session needs from its sink.
type requeuing struct {
	put     func(item) bool
	numbers *atomic.Uint64 // the number of the newest lane
}

// unreachedError is the error of a server that accepts no connection.
type unreachedError struct{ error }

func (e unreachedError) Unwrap() error { return e.error }

func openSessionWith(ctx context.Context, o Options, server server, q requeuing) (*session, error) {
	credentials, err := o.credentials(server.name)
	if err != nil {
		return nil, err
	}
	s := &session{
		options: o,
		server:  server,
		socket:  &socket{ctx: ctx, timeout: connectTimeout, encryption: o.Encryption},
		pending: newPending(o.Window),
		denials: newDenials(),
		requeue: q.put,
		batches: newBatchPrefix(),
		life:    link.NewLife("NATS"),
		closed:  make(chan struct{}),
	}
	s.lookup = newLookup()
	s.lanes = newLanes(q.numbers, s)
	// The library ignores contexts while it connects.
	defer context.AfterFunc(ctx, s.socket.cut)()
	conn, err := nats.Connect("", append(s.connOptions(), credentials...)...)
	if err != nil {
		if refusal := s.socket.refusal(); refusal != nil {
			return nil, refusal
		}
		if dial := s.socket.dialError(); dial != nil {
			return nil, unreachedError{fmt.Errorf("%w: %w", err, dial)}
		}
		return nil, err
	}
	s.conn, s.address = conn, conn.ConnectedAddr()
	if err := s.prepare(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *session) connOptions() []nats.Option {
	options := []nats.Option{
		// Not one text with commas: a password may contain one.
		func(o *nats.Options) error { o.Servers = []string{s.server.url}; return nil },
		nats.Name(s.options.Name),
		nats.NoReconnect(), // the package's documentation says why
		nats.SetCustomDialer(s.socket),
		nats.Timeout(connectTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.FlusherTimeout(writeTimeout),
		// A flush that fails drops what it had to write. Without this option the
		// connection would go on as if nothing had happened.
		nats.ReconnectOnFlusherError(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.takeError(err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(s.closed) }),
	}
	if s.options.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(s.options.InboxPrefix))
	}
	return options
}

// prepare subscribes to the replies, and waits until the server has accepted that:
// without the subscription no acknowledgement would ever arrive.
func (s *session) prepare() error {
	if !s.conn.HeadersSupported() {
		return errOldServer
	}
	var err error
	if s.options.Domain != "" {
		s.js, err = jetstream.NewWithDomain(s.conn, s.options.Domain)
	} else {
		s.js, err = jetstream.New(s.conn)
	}
	if err != nil {
		return fmt.Errorf("prepare JetStream requests: %w", err)
	}
	s.inbox = s.conn.NewInbox() + "."
	sub, err := s.conn.Subscribe(s.inbox+"*", s.takeReply)
	if err != nil {
		return fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	// The library drops messages over its limits. Here the window is the limit.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	if err := s.conn.FlushTimeout(connectTimeout); err != nil {
		return fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	// The server reports a violation before it answers the flush.
	if err := s.conn.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("subscribe to acknowledgements: %w: grant the subscription, or set OUTBOX_NATS_INBOX_PREFIX", err)
	}
	return s.prepareBatches()
}

// prepareBatches subscribes to the replies for batches. If that is not permitted, all
// messages are published alone.
func (s *session) prepareBatches() error {
	if s.lanes.off = s.options.FastIngest == FastIngestOff; s.lanes.off {
		return nil
	}
	sub, err := s.conn.Subscribe(s.inbox+batchWildcard, s.takeBatchReply)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = s.conn.FlushTimeout(connectTimeout)
	}
	if err != nil {
		return fmt.Errorf("subscribe to acknowledgements of batches: %w", err)
	}
	s.lanes.off = errors.Is(s.conn.LastError(), nats.ErrPermissionViolation)
	return nil
}

// publish writes one validated message.
func (s *session) publish(e *encoder, it item, size int64, now time.Time) {
	e.encode(it.message) // before it is pending
	t, err := s.pending.add(it, size, now.Add(s.options.AckTimeout))
	switch {
	case errors.Is(err, errCrowds):
		it.done(crowds(it.message.Topic))
		return
	case err != nil:
		it.unsent(s.lost())
		return
	}
	err = s.conn.PublishMsg(e.addressed(s.inbox, t))
	if err == nil {
		return
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		s.settle(t, relay.RejectedOutcome(fmt.Errorf("%w: %w", relay.ErrTooLarge, err)))
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		if it, ok := s.pending.take(t); ok {
			it.unsent(s.lost()) // refused before it was written
		}
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg):
		s.settle(t, relay.RejectedOutcome(fmt.Errorf("%w: %w", relay.ErrInvalid, err)))
	default:
		s.writeFailed(err)
	}
}

// writeFailed ends the connection: the failed write has lost the library's buffer, with
// some messages in it, whose outcome is unknown.
func (s *session) writeFailed(err error) { s.cut(fmt.Errorf("write to the broker: %w", err)) }

// again has a message published again.
func (s *session) again(it item) {
	if !s.requeue(it) {
		it.unsent(errClosing)
	}
}

// noteLate gives the topic a small share of the window, outside of batches.
func (s *session) noteLate(topic string) {
	s.pending.noteLate(topic)
	s.lanes.noteLate(topic)
}

func (s *session) settle(t ticket, o relay.Outcome) {
	if it, ok := s.pending.take(t); ok {
		it.done(o)
	}
}

// takeReply settles the message that a reply is for. It runs on the library's
// goroutine for the subscription.
func (s *session) takeReply(m *nats.Msg) {
	t, ok := parseTicket(strings.TrimPrefix(m.Subject, s.inbox))
	if !ok {
		return
	}
	r := parseReply(m)
	switch r.kind {
	case acknowledged:
		if it, ok := s.pending.acknowledge(t); ok {
			// If the message was repeated here, a duplicate is expected, so it is not
			// reported as one.
			if s.lanes.attentive.Load() {
				s.lanes.acknowledgedAlone(it, !r.duplicate)
			}
			it.done(relay.Outcome{Class: relay.Acknowledged, Duplicate: r.duplicate && !it.proposed})
		}
	case inProcess:
		now := time.Now()
		s.pending.markProposed(t, now, now.Add(s.options.AckTimeout))
	case noResponders:
		if topic, ok := s.pending.markUnclaimed(t); ok {
			s.lookup.ask(topic)
		}
	case refused:
		if it, ok := s.pending.take(t); ok {
			it.done(refusal(r.stream, it.message.Topic, r.err))
		}
	default:
		s.pending.markStranger(t)
	}
}

// cut ends the connection for a cause on this side. The first cause wins.
func (s *session) cut(cause error) {
	s.life.Fail(cause)
	s.socket.cut()
}

// lost is why the connection ended.
func (s *session) lost() error { return s.life.Lost(s.conn.LastError()) }

// end frees the connection and reports what was in flight.
func (s *session) end() {
	s.socket.cut()
	s.conn.Close()
	<-s.closed
	inBatches := s.lanes.close()
	alone := s.pending.end()
	s.reportLost(alone, inBatches)
	s.life.End()
}

// maxPayloadViolation is in the error with which the server closes the connection.
// The client library passes it on as text only.
const maxPayloadViolation = "maximum payload violation"

// reportLost reports what was in flight: alone, outside of batches, and in batches.
// inBatches is the size of the largest message in a batch.
func (s *session) reportLost(alone []entry, inBatches int64) {
	lost := s.lost()
	errorType := relay.ErrorTypeDisconnected
	if errors.Is(lost, errUnresponsive) || errors.Is(lost, nats.ErrStaleConnection) {
		errorType = relay.ErrorTypeUnresponsive
	}
	culprit := int64(-1) // its size
	if strings.Contains(strings.ToLower(lost.Error()), maxPayloadViolation) {
		culprit = max(inBatches, largest(alone))
	}
	outcome := func(size int64) relay.Outcome {
		if size == culprit {
			culprit = -1
			return relay.RejectedOutcome(fmt.Errorf("%w: %d bytes of headers and payload, and the server says: %w", relay.ErrTooLarge, size, lost))
		}
		return relay.UnknownOutcome(errorType, lost)
	}
	for _, e := range alone {
		if o := outcome(e.size); o.Class == relay.Rejected || e.phase == unanswered {
			e.done(o)
			continue
		}
		e.unsent(lost) // no stream took it, unless one took an earlier publish of it
	}
	s.lanes.lose(func(e *laneEntry) relay.Outcome { return outcome(e.size) })
}

// largest returns the size of a message that is over the server's limit. The limit
// itself is not known: it was changed while the connection lived. But the server
// refused a message that is over the limit, and the largest one is not smaller than
// that one.
func largest(entries []entry) (size int64) {
	for i := range entries {
		size = max(size, entries[i].size)
	}
	return size
}
