package tail

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// framed is a message of the protocol.
func framed(kind byte, body ...[]byte) []byte {
	b := bytes.Join(body, nil)
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(b))), b...)
}

// walData is CopyData with a message of pgoutput.
func walData(lsn wal.LSN, data []byte) []byte {
	head := binary.BigEndian.AppendUint64([]byte{'w'}, uint64(lsn))
	return framed('d', head, make([]byte, 16), data)
}

func keepalive(lsn wal.LSN, reply byte) []byte {
	return framed('d', binary.BigEndian.AppendUint64([]byte{'k'}, uint64(lsn)), make([]byte, 8), []byte{reply})
}

// offline is a stream that reads what r has.
func offline(r io.Reader, limit int64) *Stream {
	l := newLink()
	l.frontend(r, io.Discard)
	return &Stream{
		link: l, options: Options{Table: testTable},
		decoder:  decoder{table: testTable, limit: func() int64 { return limit }},
		reporter: newReporter(nil, &l.heard, time.Second),
	}
}

func TestStreamTellsTheSameHoweverItsBytesCome(t *testing.T) {
	row := newTextRow()
	row[columnPayload] = bytes.Repeat([]byte("x"), 3*readBuffer)
	log := bytes.Join([][]byte{
		framed('S', []byte("TimeZone\x00UTC\x00")), keepalive(5, 0),
		walData(6, relationMessage(testRelation, testTable, wireColumns())), walData(7, beginMessage(9, testCommitted)),
		walData(8, newTextRow().message(testRelation)), walData(9, row.message(testRelation)),
		framed('N', []byte("SWARNING\x00C01000\x00Mnothing\x00\x00")),
		walData(10, row.message(1)), walData(11, newTextRow().message(testRelation)), walData(12, commitMessage()),
		keepalive(5000, 1), framed('c'),
	}, nil)
	want := []Kind{Keepalive, Begin, Row, Row, Row, Commit, Keepalive}
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(log), "byte by byte": iotest.OneByteReader(bytes.NewReader(log)),
		"in halves": iotest.HalfReader(bytes.NewReader(log)), "with its end": iotest.DataErrReader(bytes.NewReader(log)),
	} {
		s := offline(r, 0)
		for i, kind := range want {
			ev, err := s.Next(t.Context())
			if err != nil || ev.Kind != kind {
				t.Fatalf("%s: event %d is %+v (%v)", name, i, ev, err)
			}
			if i == 3 && !bytes.Equal(ev.Message.Payload, row[columnPayload]) {
				t.Errorf("%s: the payload has %d bytes", name, len(ev.Message.Payload))
			}
		}
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrEnded) {
			t.Errorf("%s: the end is %v", name, err)
		}
		if s.Position() != 5000 || len(s.reporter.wake) != 1 {
			t.Errorf("%s: position %s, %d answers wanted", name, s.Position(), len(s.reporter.wake))
		}
	}
}

// PostgreSQL 14 sends the begin and the end of transactions of other tables too.
func TestOnlyTransactionsWithRowsAreCounted(t *testing.T) {
	begin, row, commit := walData(7, beginMessage(9, testCommitted)), walData(8, newTextRow().message(testRelation)), walData(12, commitMessage())
	log := bytes.Join([][]byte{
		walData(6, relationMessage(testRelation, testTable, wireColumns())),
		begin, commit, begin, row, row, commit, begin, commit, begin, row, commit, begin, commit,
	}, nil)
	s := offline(bytes.NewReader(log), 0)
	s.link.coalescer = newCoalescer(nil)
	for {
		if _, err := s.Next(t.Context()); err != nil {
			break
		}
	}
	if got := s.link.coalescer.commits; got != 2 {
		t.Errorf("%d transactions are counted, want the 2 with rows", got)
	}
}

// A kernel that refuses to be told when to wake costs only the sleep. A closed socket refuses
// too.
func TestPauseNeedsNoLeaveOfTheKernel(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := newCoalescer(conn)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	c.fast, c.pause = true, time.Nanosecond
	if err := c.wait(); err != nil || c.pauses != 1 || runtime.GOOS == "linux" && c.socket != nil {
		t.Errorf("%d pauses, %v", c.pauses, err)
	}
}

// spaces is an endless payload.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestPayloadOverTheLimitTakesNoMemory(t *testing.T) {
	const length = 200 << 20
	row := newTextRow()
	row[columnPayload] = []byte("here")
	whole := walData(8, row.message(testRelation))
	before, after, _ := bytes.Cut(whole, []byte("\x00\x00\x00\x04here"))
	binary.BigEndian.PutUint32(before[1:], uint32(len(whole)-1-4+length))
	before = binary.BigEndian.AppendUint32(before, length)
	s := offline(io.MultiReader(
		bytes.NewReader(walData(6, relationMessage(testRelation, testTable, wireColumns()))), bytes.NewReader(walData(7, beginMessage(9, testCommitted))),
		bytes.NewReader(before), io.LimitReader(spaces{}, length), bytes.NewReader(after), bytes.NewReader(keepalive(9, 0)),
	), 1<<20)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	allocated := m.TotalAlloc
	for _, kind := range []Kind{Begin, Row, Keepalive} {
		ev, err := s.Next(t.Context())
		if err != nil || ev.Kind != kind {
			t.Fatalf("event %+v, want %s (%v)", ev, kind, err)
		}
		if kind == Row && !errors.Is(ev.Message.Defect, relay.ErrTooLarge) {
			t.Errorf("defect %v", ev.Message.Defect)
		}
	}
	runtime.ReadMemStats(&m)
	if took := m.TotalAlloc - allocated; took > 1<<20 {
		t.Errorf("a payload of %d bytes took %d of memory", length, took)
	}
}

func TestDriverReadsNoFurtherThanToTheEndOfAMessage(t *testing.T) {
	ready := framed('Z', []byte{'I'})
	l := newLink()
	driver := l.frontend(bytes.NewReader(append(bytes.Clone(ready), keepalive(5, 0)...)), io.Discard)
	if m, err := driver.Receive(); err != nil {
		t.Fatal(err)
	} else if _, ok := m.(*pgproto3.ReadyForQuery); !ok {
		t.Fatalf("message %T", m)
	}
	m, err := l.next(t.Context())
	if err != nil || m.kind != 'd' {
		t.Errorf("then %q (%v)", m.kind, err)
	}
}

// FuzzStream reads what a server sends, or what nobody does.
func FuzzStream(f *testing.F) {
	for _, entries := range captured(f) {
		var log []byte
		for _, e := range entries {
			log = append(log, walData(e.lsn, e.data)...)
			if e.data[0] == 'C' {
				log = append(log, keepalive(e.lsn, 1)...)
				f.Add(log)
				log = nil
			}
		}
	}
	f.Add(framed('E', []byte("SFATAL\x00C57P01\x00Mover\x00\x00")))
	f.Add(framed('N', []byte("SWARNING\x00C55000\x00Mskipped\x00\x00")))
	f.Add([]byte{'d', 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, log []byte) {
		s := offline(bytes.NewReader(log), 1000)
		for range len(log) + 1 {
			ev, err := s.Next(context.Background())
			if err != nil {
				return
			}
			if ev.Kind == Row {
				checkRow(t, ev, 1000)
			}
		}
		t.Error("more events than bytes")
	})
}
