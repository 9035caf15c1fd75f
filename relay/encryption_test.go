package relay

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// connTo is a connection of which only the other side's address is known.
type connTo struct {
	net.Conn
	at net.Addr
}

func (c connTo) RemoteAddr() net.Addr { return c.at }

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4222} }

func TestOnlyConnectionsThatLeaveTheHostAreJudged(t *testing.T) {
	for _, at := range []net.Addr{tcp("127.0.0.1"), tcp("127.8.8.8"), tcp("::1"), tcp("::ffff:127.0.0.1"), &net.UnixAddr{Name: "/run/s"}} {
		if p := NewPeer("NATS", connTo{at: at}, Plaintext, "fix"); p.Protection != Local || p.Fix != "" {
			t.Errorf("%v is %s", at, p.Protection)
		}
	}
	for _, at := range []net.Addr{tcp("10.0.0.1"), tcp("192.0.2.1"), tcp("2001:db8::1"), tcp("fe80::1"), nil} {
		if p := NewPeer("NATS", connTo{at: at}, Plaintext, "fix"); p.Protection != Plaintext {
			t.Errorf("%v is %s", at, p.Protection)
		}
	}
}

func TestUnprotectedConnectionsAreToldOnceOrRefused(t *testing.T) {
	peer := func(name, ip string, p Protection) Peer { return NewPeer(name, connTo{at: tcp(ip)}, p, "use tls://") }
	for _, required := range []bool{false, true} {
		var log bytes.Buffer
		e := &Encryption{Required: required, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		for range 2 {
			for _, ip := range []string{"10.0.0.1", "10.0.0.2"} {
				for _, p := range []Protection{Local, Verified, Unverified} {
					if err := e.Judge(peer("NATS", ip, p)); err != nil {
						t.Errorf("%s is refused: %v", p, err)
					}
				}
				err := e.Judge(peer("NATS", ip, Plaintext))
				refused, is := errors.AsType[*PlaintextError](err)
				if is != required || (err != nil) != required {
					t.Errorf("required: %v: plaintext gives %v", required, err)
				}
				if is && (refused.Address != ip+":4222" || !strings.Contains(err.Error(), ip) || !strings.Contains(err.Error(), "use tls://")) {
					t.Errorf("the error is %v", err)
				}
			}
		}
		want := map[bool]int{false: 2, true: 1}[required] // unverified, and plaintext where it is allowed
		if n := strings.Count(log.String(), "a connection is not protected"); n != want {
			t.Errorf("required: %v: %d warnings, want %d:\n%s", required, n, want, log.String())
		}
	}
	var none *Encryption
	if err := none.Judge(peer("NATS", "10.0.0.1", Plaintext)); err != nil {
		t.Error(err)
	}
}

func TestDoctorWarnsOfUnprotectedConnections(t *testing.T) {
	for p, want := range map[Protection]Severity{Local: Fine, Verified: Fine, Unverified: Warning, Plaintext: Warning} {
		c := Peer{Name: "RabbitMQ", Address: "10.0.0.1:5672", Protection: p, Fix: "use amqps://"}.Check()
		if c.Severity != want || c.Name != "RabbitMQ encryption" || (c.Fix != "") != (want == Warning) || c.Found == "" {
			t.Errorf("%s: %+v", p, c)
		}
	}
}
