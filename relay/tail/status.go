package tail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// reporter tells the server how far the log has been read. The server ends a stream
// that is silent for wal_sender_timeout, even if the caller is only too busy to read.
// So the reporter has a goroutine of its own, the only one that writes to the
// connection.
type reporter struct {
	conn     net.Conn
	interval time.Duration
	// heard says whether the server has sent something since it was last asked.
	heard *atomic.Bool

	position atomic.Uint64 // LSN; only grows
	wake     chan struct{} // the server wants an answer now

	stop    chan struct{}
	stopped chan struct{}
	failed  atomic.Pointer[error]
}

// writeDeadline is for a status update. The server reads them even while it cannot
// write, so a connection that takes none is dead.
const writeDeadline = 10 * time.Second

func newReporter(conn net.Conn, heard *atomic.Bool, interval time.Duration) *reporter {
	return &reporter{
		conn:     conn,
		interval: interval,
		heard:    heard,
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
}

// confirm notes that the log has been read up to lsn. The next update tells it.
func (r *reporter) confirm(lsn wal.LSN) {
	if uint64(lsn) > r.position.Load() {
		r.position.Store(uint64(lsn)) // there is one reader
	}
}

// answer has an update sent at once.
func (r *reporter) answer() {
	select {
	case r.wake <- struct{}{}:
	default: // one is on its way
	}
}

// run sends updates until end is called or the connection breaks, which it then
// closes, so that the reader learns of it.
func (r *reporter) run() {
	defer close(r.stopped)
	tick := time.NewTicker(r.interval)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		case <-r.wake:
		}
		if err := r.send(); err != nil {
			err = fmt.Errorf("send status update: %w", err)
			r.failed.Store(&err)
			_ = r.conn.Close()
			return
		}
	}
}

// send writes one update. If the server has been silent since the last one, it asks for
// an answer, to distinguish a quiet connection from a dead one.
func (r *reporter) send() error {
	if err := r.conn.SetWriteDeadline(time.Now().Add(writeDeadline)); err != nil {
		return err
	}
	select {
	case <-r.stop: // end may have set its deadline before; it need not wait for this one
		return nil
	default:
	}
	_, err := r.conn.Write(statusUpdate(wal.LSN(r.position.Load()), time.Now(), !r.heard.Swap(false)))
	return err
}

// end stops the updates, waits for the goroutine, and ends the session.
// The caller then closes the connection. Call it once.
func (r *reporter) end() {
	close(r.stop)
	// An update that is stuck is given up; the deadline is for the last message too.
	_ = r.conn.SetWriteDeadline(time.Now().Add(closeGrace))
	<-r.stopped
	if r.failed.Load() == nil {
		// CopyDone, then Terminate. A server that does not get them notices the close.
		_, _ = r.conn.Write([]byte{'c', 0, 0, 0, 4, 'X', 0, 0, 0, 4})
	}
}

// cause is what broke the connection from this side, or nil.
func (r *reporter) cause() error {
	if err := r.failed.Load(); err != nil && !errors.Is(*err, net.ErrClosed) {
		return *err
	}
	return nil
}

// statusUpdate is a Standby Status Update in a CopyData message (PostgreSQL's
// documentation, "Streaming Replication Protocol").
func statusUpdate(lsn wal.LSN, now time.Time, reply bool) []byte {
	const length = 1 + 8 + 8 + 8 + 8 + 1
	b := make([]byte, 0, headLength+length)
	b = append(b, 'd')
	b = binary.BigEndian.AppendUint32(b, 4+length)
	b = append(b, 'r')
	for range 3 { // written, flushed and applied are one here
		b = binary.BigEndian.AppendUint64(b, uint64(lsn))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixMicro()-epoch))
	if reply {
		return append(b, 1)
	}
	return append(b, 0)
}
