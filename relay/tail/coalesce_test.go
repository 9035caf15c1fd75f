package tail_test

import (
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

	// What comes alone, while the stream waits for it, is less than the bytes that wake the
	// process during a pause.
	go func() {
		time.Sleep(200 * time.Millisecond)
		_, err := other.Exec(t.Context(), f.sql(insert), "alone")
		done <- err
	}()
	if got := topics(rows(t, s, 1)); got != "alone" {
		t.Errorf("rows %s", got)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
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
	f.options.Coalesce = time.Minute
	s := f.stream()
	for range 20 {
		f.exec(insert, "a")
		rows(t, s, 1)
		time.Sleep(5 * time.Millisecond) // 200 a second at most
	}
	if n := tail.Pauses(s); n != 0 {
		t.Errorf("the stream waited %d times", n)
	}
}
