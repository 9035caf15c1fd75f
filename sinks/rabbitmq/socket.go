package rabbitmq

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Timing of a connection. The broker sends a heartbeat every five seconds (half of the
// agreed interval), so a half-open connection is found within readTimeout. If messages
// wait for acknowledgements it is found earlier.
const (
	heartbeat      = 10 * time.Second
	readTimeout    = 25 * time.Second
	writeTimeout   = 20 * time.Second
	connectTimeout = 5 * time.Second
	// lastWords is how long a connection is read on after a write has failed. A broker
	// that refuses a certificate, or closes the connection, has said why before it
	// stopped reading.
	lastWords = time.Second
)

// bufferedBytes is how many bytes may wait to be written before the writers pause. A writer
// checks that before it writes, so each writer may exceed it by one message.
const bufferedBytes = 1 << 20

var (
	errSilent     = errors.New("nothing was heard from the broker, not even a heartbeat")
	errNotReading = errors.New("the broker has stopped reading")
)

// socket is the TCP connection below the client library. The library ignores contexts
// while it reads and writes, and holds locks meanwhile. Here a write never blocks: it
// fills a buffer, and a goroutine empties the buffer. So nothing hangs while the broker
// does not read, for example during a memory alarm. And many small messages become one
// system call. The socket sets its own deadlines and ignores those of the library.
type socket struct {
	net.Conn
	room *notice // tells that the buffer has room again
	done chan struct{}
	// lastWords is the constant, but in a test.
	lastWords time.Duration

	mu      sync.Mutex
	wake    sync.Cond
	buffer  []byte
	err     error     // why it ended; the first cause wins
	deaf    bool      // a write has failed: only the broker's last words are read
	patient bool      // the broker said that it does not read: a write has no deadline
	resumed time.Time // when it said that it reads again
	opening bool      // the handshake is in progress
}

func newSocket(conn net.Conn) *socket {
	return newSocketWith(conn, lastWords)
}

// newSocketWith is newSocket with another time for the last words.
func newSocketWith(conn net.Conn, words time.Duration) *socket {
	s := &socket{Conn: conn, room: newNotice(), done: make(chan struct{}), lastWords: words, opening: true}
	s.wake.L = &s.mu
	go s.flush()
	return s
}

// Write implements net.Conn. The bytes are written soon, or never if the connection
// ends first.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if s.deaf {
		return len(p), nil // an error here would have the library close what is still read
	}
	s.buffer = append(s.buffer, p...)
	s.wake.Signal()
	return len(p), nil
}

// full returns whether the next message should wait: for room, or for the end of a
// connection that takes no more.
func (s *socket) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil && (s.deaf || len(s.buffer) >= bufferedBytes)
}

// flush writes what is buffered, until the socket ends.
func (s *socket) flush() {
	defer close(s.done)
	var out []byte
	for {
		s.mu.Lock()
		for len(s.buffer) == 0 && s.err == nil {
			s.wake.Wait()
		}
		if s.err != nil {
			s.mu.Unlock()
			return
		}
		wasFull := len(s.buffer) >= bufferedBytes
		out, s.buffer = s.buffer, out[:0]
		s.mu.Unlock()
		if wasFull {
			s.room.tell()
		}
		if err := s.writeAll(out); err != nil {
			s.endAfterLastWords(err)
			return
		}
		if cap(out) > 4*bufferedBytes {
			out = nil // after large messages
		}
	}
}

// writeAll goes on after a deadline if bytes were written since then, or if the broker
// has said that it does not read. In the second case only reads show whether the broker
// is alive.
func (s *socket) writeAll(b []byte) error {
	moved := time.Now()
	for len(b) > 0 {
		if err := s.Conn.SetWriteDeadline(s.writeDeadline(moved)); err != nil {
			return err
		}
		n, err := s.Conn.Write(b)
		b = b[n:]
		if n > 0 {
			moved = time.Now()
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case n == 0 && !time.Now().Before(s.writeDeadline(moved)):
			return errNotReading
		}
	}
	return nil
}

// writeDeadline returns the deadline of a write that made its last progress at moved.
// When the broker has said that it reads again, the whole time begins anew. Otherwise a
// broker that says so just before a deadline would have no time at all.
func (s *socket) writeDeadline(moved time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.patient {
		return time.Now().Add(writeTimeout)
	}
	if s.resumed.After(moved) {
		moved = s.resumed
	}
	return moved.Add(writeTimeout)
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	s.mu.Lock()
	limit := readTimeout
	if s.opening {
		limit = connectTimeout
	}
	s.mu.Unlock()
	if err := s.Conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	n, err := s.Conn.Read(p)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errSilent
		}
		s.cut(err)
	}
	return n, err
}

// endHandshake notes that the handshake is over.
func (s *socket) endHandshake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening = false
}

func (s *socket) setPatient(patient bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patient = patient
	if !patient {
		s.resumed = time.Now()
	}
}

// cut ends the connection at once. Whatever is written or read fails. The first cause
// wins.
func (s *socket) cut(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
		s.buffer = nil
	}
	s.wake.Broadcast()
	s.mu.Unlock()
	_ = s.Conn.Close()
	s.room.tell()
}

// endAfterLastWords ends the connection after a write has failed with err. What the broker
// has said before is read first, because it tells more than err does.
func (s *socket) endAfterLastWords(err error) {
	if errors.Is(err, errNotReading) {
		s.cut(err)
		return
	}
	s.mu.Lock()
	s.deaf, s.buffer = true, nil
	s.mu.Unlock()
	time.AfterFunc(s.lastWords, func() { s.cut(err) })
}

// cause is why the socket ended, or nil.
func (s *socket) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close implements net.Conn for the library. The buffer still gets a moment to be
// written, because it has the answer to the broker's request to close.
func (s *socket) Close() error {
	s.mu.Lock()
	last := s.buffer
	s.buffer = nil
	ended := s.err != nil
	s.mu.Unlock()
	if !ended && len(last) > 0 {
		_ = s.Conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = s.Conn.Write(last)
	}
	s.cut(net.ErrClosed)
	return nil
}

// The library's deadlines are ignored.

func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// cutLater ends the connection after d.
func (s *socket) cutLater(d time.Duration) { time.AfterFunc(d, func() { s.cut(errClosing) }) }
