package tail

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

const (
	// coalesceAbove is from how many transactions a second on the log is read in bunches.
	coalesceAbove = 4000
	// rateWindow is for how long transactions are counted to know their rate.
	rateWindow = 50 * time.Millisecond
	// wakingBytes is how many bytes have to come before the kernel wakes the process during a
	// pause. They do not end the pause; fewer come in one, mostly.
	wakingBytes = 256 << 10
)

// coalescer is the connection of a stream. While transactions with rows come fast, it waits before
// each read, so that many are read at once: woken for each of them, the relay, PostgreSQL
// and the broker need most of their processor time for waking up. At a lower rate it reads
// what comes at once. (The idea is that of a network card's interrupts.)
//
// Read and count are for one goroutine.
type coalescer struct {
	net.Conn
	socket syscall.RawConn // nil: it is no socket whose wake-ups can wait
	pause  time.Duration   // before a read; 0 until the stream takes over, and if it is never to wait
	above  float64         // transactions a second

	fast    bool // when transactions were last counted
	drained bool // the last read took everything that was there
	rows    bool // the transaction that is being read has some
	commits int  // of transactions with rows, since began
	began   time.Time
	pauses  int // so far; for the tests
}

func newCoalescer(conn net.Conn) *coalescer {
	c := &coalescer{Conn: conn, above: coalesceAbove}
	if tcp, ok := conn.(*net.TCPConn); ok {
		c.socket, _ = tcp.SyscallConn() // never fails for an open connection
	}
	return c
}

// coalescerOf finds the coalescer below a connection that the driver has made; nil if it
// has none.
func coalescerOf(conn net.Conn) *coalescer {
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	c, _ := conn.(*coalescer)
	return c
}

// count counts the transactions that have rows. It gets each event that was read.
func (c *coalescer) count(kind Kind) {
	switch kind {
	case Row:
		c.rows = true
	case Commit:
		if c.rows {
			c.commits++
		}
		c.rows = false
	case Begin, Keepalive:
	}
}

// Read waits first if transactions come fast, and the last read left nothing.
func (c *coalescer) Read(p []byte) (int, error) {
	if c.pause > 0 && c.drained {
		c.measure(time.Now())
		if err := c.wait(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.drained = n < len(p)
	return n, err
}

// measure finds out whether transactions come fast.
func (c *coalescer) measure(now time.Time) {
	passed := now.Sub(c.began)
	if passed < rateWindow {
		return
	}
	c.fast = float64(c.commits) > c.above*passed.Seconds()
	c.commits, c.began = 0, now
}

// wait sleeps if transactions come fast. What comes meanwhile does not wake the process.
func (c *coalescer) wait() error {
	if !c.fast {
		return nil
	}
	c.pauses++
	if wakeAt(c.socket, wakingBytes) != nil {
		c.socket = nil // it is not allowed, or not known here: the process is woken, and goes on to sleep
	}
	time.Sleep(c.pause)
	// Otherwise the next read would wait until so much has come.
	return wakeAt(c.socket, 1)
}
