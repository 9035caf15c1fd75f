package rabbitmq

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// deaf returns a socket whose other end neither reads nor writes.
func deaf(t *testing.T) *socket {
	t.Helper()
	here, there := net.Pipe()
	s := newSocket(here)
	t.Cleanup(func() {
		s.cut(errClosing)
		<-s.done
		there.Close()
	})
	return s
}

func TestSilenceEndsTheSocket(t *testing.T) {
	for name, opened := range map[string]bool{"handshake": false, "afterwards": true} {
		synctest.Test(t, func(t *testing.T) {
			s, want := deaf(t), connectTimeout
			if opened {
				s.endHandshake()
				want = readTimeout
			}
			began := time.Now()
			_, err := s.Read(make([]byte, 1))
			if d := time.Since(began); !errors.Is(err, errSilent) || !errors.Is(s.cause(), errSilent) || d != want {
				t.Errorf("%s: after %v reading ends with %v, the socket with %v; want silence after %v", name, d, err, s.cause(), want)
			}
		})
	}
}

// Its time begins when it says that it reads again, not with the deadline that ran
// meanwhile.
func TestBrokerThatReadsAgainHasItsTimeToDoSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		s := newSocket(here)
		s.setPatient(true)
		if _, err := s.Write([]byte("message")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3*writeTimeout - time.Millisecond)
		s.setPatient(false)
		time.Sleep(writeTimeout - time.Millisecond)
		synctest.Wait()
		if err := s.cause(); err != nil {
			t.Fatalf("the broker is given up before its time is over: %v", err)
		}
		read := make([]byte, 100)
		if n, err := there.Read(read); string(read[:n]) != "message" {
			t.Errorf("the broker reads %q (%v)", read[:n], err)
		}
		s.cut(errClosing)
		<-s.done
		there.Close()
	})
}

// During an alarm the broker does not read for as long as it takes a person to
// make room.
func TestBrokerThatDoesNotReadIsGivenUpUnlessItSaidSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deaf(t)
		s.setPatient(true)
		if _, err := s.Write([]byte("message")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := s.cause(); err != nil {
			t.Errorf("a broker that said that it does not read is given up: %v", err)
		}
		s.setPatient(false)
		time.Sleep(writeTimeout)
		synctest.Wait()
		if err := s.cause(); !errors.Is(err, errNotReading) {
			t.Errorf("the end after a broker has stopped reading is %v", err)
		}
	})
}

// A broker that refuses a certificate says so and hangs up. If something is written
// meanwhile, the write fails before that is read.
func TestLastWordsAreReadAfterAWriteHasFailed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	here, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := newSocketWith(here, time.Minute)
	defer func() {
		s.cut(errClosing)
		<-s.done
	}()
	there, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Write([]byte("goodbye")); err != nil {
		t.Fatal(err)
	}
	if err := there.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	there.Close()
	for ended := false; !ended; {
		if _, err := s.Write([]byte("message")); err != nil {
			t.Fatalf("the library would close the connection: %v", err)
		}
		select {
		case <-s.done:
			ended = true
		case <-time.After(time.Millisecond):
		}
	}
	if !s.full() {
		t.Error("a message would be written to it, and be lost")
	}
	read := make([]byte, 100)
	if n, err := s.Read(read); string(read[:n]) != "goodbye" {
		t.Errorf("the last words are %q (%v)", read[:n], err)
	}
	if _, err := s.Read(read); err == nil || s.cause() == nil {
		t.Errorf("the end is %v, its cause %v", err, s.cause())
	}
}
