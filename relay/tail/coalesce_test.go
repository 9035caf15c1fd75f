package tail_test

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/tail"
)

// insertEach inserts rows, each in a transaction of its own, some hundreds a second.
const insertEach = `DO $$ BEGIN FOR i IN 1..2000 LOOP
	INSERT INTO {t} (topic, payload) VALUES ('a', '1'); COMMIT; PERFORM pg_sleep(0.0005);
END LOOP; END $$`

func TestFastTransactionsAreReadInBunchesAndASingleOneAtOnce(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testBunches(t, setup(t)) })
	t.Run("encrypted", func(t *testing.T) {
		f := setupAlone(t, nil)
		ca := f.encrypt()
		config, err := pgconn.ParseConfig(f.server.URLAs(f.options.Config.User, "", "postgres") + "&sslmode=verify-full&sslrootcert=" + ca)
		if err != nil {
			t.Fatal(err)
		}
		f.options.Config = config
		testBunches(t, f)
	})
}

func testBunches(t *testing.T, f *fixture) {
	f.options.Coalesce = 20 * time.Millisecond
	s := f.stream()
	tail.CoalesceAbove(s, 50) // less than the slowest machine inserts
	done := make(chan error, 1)
	other := f.other()
	go func() {
		_, err := other.Exec(t.Context(), f.sql(insertEach))
		done <- err
	}()
	wakesAt := mostWakingBytes(tail.Socket(s))
	began := time.Now()
	found := rows(t, s, 2000)
	took := time.Since(began)
	if most := wakesAt(); runtime.GOOS == "linux" && most != tail.WakingBytes {
		t.Errorf("during the pauses %d bytes wake the process", most)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, ev := range found {
		if ev.Message.ID != int64(i+1) {
			t.Fatalf("row %d is %d", i+1, ev.Message.ID)
		}
	}
	paused := tail.Pauses(s)
	if most := int(took/f.options.Coalesce) + 1; paused < 3 || paused > most {
		t.Errorf("2,000 transactions were read in %d bunches within %v, want at most %d", paused, took, most)
	}

	// What comes alone is less than the bytes that wake the process during a pause.
	awaitAnswer(t, s)
	f.exec(insert, "alone")
	if got := topics(rows(t, s, 1)); got != "alone" {
		t.Errorf("rows %s", got)
	}
}

// awaitAnswer reads until a keepalive has woken the stream: the one for which a server that
// has been silent for a second is asked. Those before may have come while the stream did not
// wait for them.
func awaitAnswer(t *testing.T, s *tail.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		began := time.Now()
		ev, err := s.Next(ctx)
		if err != nil {
			t.Fatal("a stream that waits:", err)
		}
		if ev.Kind == tail.Keepalive && time.Since(began) > 100*time.Millisecond {
			return
		}
	}
}

// mostWakingBytes looks at the socket's SO_RCVLOWAT until it is called, and returns the most
// that was seen.
func mostWakingBytes(socket syscall.RawConn) (stop func() int) {
	end, most := make(chan struct{}), make(chan int)
	go func() {
		seen := 0
		for socket != nil {
			_ = socket.Control(func(fd uintptr) {
				if n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT); err == nil {
					seen = max(seen, n)
				}
			})
			select {
			case <-end:
				most <- seen
				return
			case <-time.After(time.Millisecond):
			}
		}
		<-end
		most <- 0
	}()
	return func() int {
		close(end)
		return <-most
	}
}

func TestSlowTransactionsAreReadAtOnce(t *testing.T) {
	f := setup(t)
	f.options.Coalesce = 10 * time.Millisecond
	s := f.stream()
	tail.CoalesceAbove(s, 1_000_000) // more than any machine inserts
	for range 200 {
		f.exec(insert, "a")
		rows(t, s, 1)
	}
	if n := tail.Pauses(s); n != 0 {
		t.Errorf("the stream waited %d times", n)
	}
}
