package tail

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// readBuffer is how much is read from the connection at once. What fits is
// decoded in place; larger messages are taken off piece by piece.
const readBuffer = 64 << 10

// link owns the connections of a stream, one for the stream and the others for
// the driver's cancel requests, and the buffer through which all is read: by the
// driver while the session is set up, and by the stream afterwards.
type link struct {
	ctx    context.Context // ends with the link
	cancel context.CancelFunc

	mu    sync.Mutex
	conns []net.Conn

	buffer *bufio.Reader
	source io.Reader // below the buffer

	// Since the stream took over. Silence longer than patience is an error.
	conn        net.Conn
	coalescer   *coalescer // below conn; nil: none
	patience    time.Duration
	interrupted atomic.Bool
	heard       atomic.Bool // something came since this was last reset
}

func newLink() *link {
	l := &link{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialer remembers the connections that dial opens.
func (l *link) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(l.ctx, cancel)()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if err := l.ctx.Err(); err != nil {
			_ = conn.Close()
			return nil, err
		}
		l.conns = append(l.conns, conn)
		return newCoalescer(conn), nil
	}
}

// close ends every connection at once, also those being dialed. It sends no TLS
// close_notify: a peer that does not read could keep us waiting.
func (l *link) close() {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close() // a second close of some
	}
	l.conns = nil
}

// frontend gives the driver its reader. It hands out one message at a time, so that
// the driver cannot read ahead into the stream's messages.
func (l *link) frontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	l.source = r
	l.buffer = bufio.NewReaderSize(readerFunc(l.read), readBuffer)
	return pgproto3.NewFrontend(&messages{r: l.buffer}, w)
}

// takeOver is called when the driver has let go of the connection. While transactions come
// fast, pause is how long each read waits.
func (l *link) takeOver(conn net.Conn, patience, pause time.Duration) {
	l.conn, l.patience = conn, patience
	if l.coalescer = coalescerOf(conn); l.coalescer != nil {
		l.coalescer.pause = pause
	}
}

// read fills the buffer.
func (l *link) read(p []byte) (int, error) {
	if l.conn == nil {
		return l.source.Read(p)
	}
	if err := l.conn.SetReadDeadline(time.Now().Add(l.patience)); err != nil {
		return 0, err
	}
	// In this order: an interruption either is seen here or ends the read.
	if l.interrupted.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := l.source.Read(p)
	if n > 0 {
		l.heard.Store(true)
	}
	return n, err
}

// interruptible lets the end of ctx interrupt reads until the function that it
// returns has been called.
func (l *link) interruptible(ctx context.Context) (done func()) {
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		l.interrupted.Store(true)
		// A connection that has been closed does not block reads either.
		_ = l.conn.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-over // it must not interrupt a later read
			l.interrupted.Store(false)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// headLength is that of a message's head: its type and its length.
const headLength = 5

// messages reads no further than to the end of a message of the protocol.
type messages struct {
	r    *bufio.Reader
	left int // of the message that was begun, its head included
}

func (m *messages) Read(p []byte) (int, error) {
	if m.left == 0 {
		_, length, err := peekHead(m.r)
		if err != nil {
			return 0, err
		}
		m.left = headLength + length
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}
