package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

var (
	errClosing      = link.ErrClosed
	errUnresponsive = errors.New("the broker has stopped answering")
	errBlocked      = errors.New("blocked by the broker")
)

// session is one connection and its channels. It ends with the connection's
// first fault.
type session struct {
	sink    *Sink
	options Options
	address address
	socket  *socket
	conn    *amqp.Connection
	frame   int // the frame size that was agreed with the broker, in bytes

	outlets   []outlet // one for each writer, by its number
	followers sync.WaitGroup
	life      *link.Life
	signs     signs
	asking    chan struct{} // holds one: one question at a time

	closes chan *amqp.Error
	blocks chan amqp.Blocking
	down   chan struct{}         // closed when the connection has ended and life knows why
	fault  atomic.Pointer[error] // why the exchange takes no message at all
}

// outlet is what a connection has for a writer.
type outlet struct {
	writer  *writer
	channel atomic.Pointer[channel] // nil while one is being opened
	leaving atomic.Bool             // a retired channel is not yet closed
}

func newLife(a address) *link.Life { return link.NewLife("RabbitMQ at " + a.host) }

// openSession connects to one node and opens the channels.
func openSession(ctx context.Context, sink *Sink, a address, writers []*writer) (*session, error) {
	o := sink.options
	s := &session{
		sink: sink, options: o, address: a, life: newLife(a), signs: signs{began: time.Now()},
		outlets: make([]outlet, len(writers)),
		asking:  make(chan struct{}, 1),
		down:    make(chan struct{}),
	}
	for i, w := range writers {
		s.outlets[i].writer = w
	}
	if writers[0].kind == lateWriter {
		s.options.Name += ", late topics"
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		s.cut(err)
		s.conn.Close()
		<-s.socket.done
		return nil, err
	}
	return s, nil
}

// connect dials and makes the handshake. The library ignores ctx and deadlines, so the
// socket is cut when ctx or the time ends.
func (s *session) connect(ctx context.Context) error {
	d := net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	tcp, err := d.DialContext(ctx, "tcp", s.address.host)
	if err != nil {
		return err
	}
	if err := s.options.Encryption.Judge(s.address.peer(tcp)); err != nil {
		_ = tcp.Close()
		return err
	}
	s.socket = newSocket(tcp)
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.socket.cut(ctx.Err()) })()
	if err := s.shakeHands(ctx); err != nil {
		cause := s.socket.cause()
		s.socket.cut(err)
		<-s.socket.done
		return handshakeError(err, cause)
	}
	s.socket.endHandshake()
	return nil
}

func (s *session) shakeHands(ctx context.Context) error {
	var conn net.Conn = s.socket
	heard := &hearing{}
	if s.address.tls {
		config, err := s.options.TLS.Config(s.address.name)
		if err != nil {
			return err
		}
		client := tls.Client(conn, config)
		if err := client.HandshakeContext(ctx); err != nil {
			return err
		}
		heard.Conn = client
		conn = heard
	}
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(s.options.Name)
	properties["product"] = "outbox-relay"
	var err error
	s.conn, err = amqp.Open(conn, amqp.Config{
		SASL:       s.options.authentication(s.address),
		Vhost:      s.address.vhost,
		FrameSize:  defaultFrame,
		Heartbeat:  heartbeat,
		Locale:     "en_US",
		Properties: properties,
	})
	return heard.orCause(err)
}

// handshakeError returns the true cause if the broker did not answer. The library then
// reports refused credentials, because a broker that refuses them may also end the
// connection without an answer.
func handshakeError(err, socket error) error {
	if errors.Is(socket, errSilent) || errors.Is(socket, context.Canceled) || errors.Is(socket, context.DeadlineExceeded) {
		return fmt.Errorf("the broker does not answer: %w", socket)
	}
	return err
}

// prepare opens the channels and checks the exchange. If something is wrong with the
// exchange, the connection stays.
func (s *session) prepare(ctx context.Context) error {
	s.frame = s.conn.Config.FrameSize
	if s.frame <= 0 {
		s.frame = defaultFrame
	}
	s.closes = s.conn.NotifyClose(make(chan *amqp.Error, 1))
	s.blocks = s.conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.socket.cut(ctx.Err()) })()
	for i := range s.outlets {
		ch, err := openChannel(s.conn, s.outlets[i].writer.window)
		if err != nil {
			return fmt.Errorf("open channel: %w", s.orCause(err))
		}
		s.outlets[i].channel.Store(ch)
	}
	if err := checkExchange(s.conn, s.options); err != nil {
		if s.conn.IsClosed() {
			return fmt.Errorf("look for the exchange: %w", s.orCause(err))
		}
		s.fault.Store(&err)
	}
	for i := range s.outlets {
		o := &s.outlets[i]
		ch := o.channel.Load()
		s.followers.Go(func() { s.follow(o, ch) })
	}
	return nil
}

// orCause returns why the connection has ended, or err if it has not. The library's own
// error for a question says only that it has ended.
func (s *session) orCause(err error) error {
	if s.conn.IsClosed() {
		if told := <-s.closes; told != nil && told.Server {
			return told
		}
	}
	if cause := s.socket.cause(); cause != nil {
		return cause
	}
	return err
}

// obstacle is why no message should be written now, or nil.
func (s *session) obstacle() error {
	if err := s.signs.whyBlocked(); err != nil {
		return err
	}
	if err := s.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// setFault notes why the exchange takes no message. A probe that succeeds clears it.
func (s *session) setFault(err error) {
	if err == nil {
		s.fault.Store(nil)
	} else {
		s.fault.Store(&err)
	}
	s.sink.changed.tell()
}

// cut ends the connection for a cause on this side. The first cause wins.
func (s *session) cut(cause error) {
	s.life.Fail(cause)
	s.socket.cut(cause)
}

// lost is why the connection ended.
func (s *session) lost() error { return s.life.Lost(nil) }

func (s *session) lossType() relay.ErrorType {
	if err := s.lost(); errors.Is(err, errUnresponsive) || errors.Is(err, errSilent) || errors.Is(err, errNotReading) {
		return relay.ErrorTypeUnresponsive
	}
	return relay.ErrorTypeDisconnected
}

// reportLost reports what was in flight when the connection ended. If only the
// connection of the late topics ended, the outcome is not unknown: that would stop the
// other topics, whose messages are acknowledged.
func (s *session) reportLost(w *writer, left []entry) {
	if w.kind == lateWriter {
		if main, _ := s.sink.link.Current(); main != nil && !main.conn.IsClosed() {
			w.lateSender.reportLost(s, left, s.lost())
			return
		}
	}
	for _, e := range left {
		e.done(relay.UnknownOutcome(s.lossType(), s.lost()))
	}
}

// goodbye is how long the broker may take to answer that the connection is closed.
const goodbye = 500 * time.Millisecond

// end frees the connection. It returns when all its goroutines have ended and all
// messages in flight are reported.
func (s *session) end() {
	timer := time.AfterFunc(goodbye, func() { s.cut(errClosing) })
	_ = s.conn.Close() // on a connection that has ended it does nothing
	timer.Stop()
	s.cut(errClosing)
	s.sink.changed.tell()
	s.followers.Wait()
	s.life.End()
	<-s.socket.done
}
