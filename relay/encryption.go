package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
)

// Protection says what keeps others from reading, or taking over, a connection.
type Protection uint8

// How a connection is protected.
const (
	// Local: it does not leave the host: a Unix socket, or a loopback address.
	Local Protection = iota + 1
	// Verified: it is encrypted, and the server has shown who it is.
	Verified
	// Unverified: it is encrypted, and anybody in between may pose as the server.
	Unverified
	// Plaintext: it is not encrypted, or would not be if somebody in between says so.
	Plaintext
)

var protectionNames = [...]string{"unknown", "local", "verified", "unverified", "plaintext"}

// String returns the protection in lower case.
func (p Protection) String() string { return protectionNames[p] }

// Peer is the other side of a connection.
type Peer struct {
	Name       string // "PostgreSQL", or the broker's
	Address    string
	Protection Protection
	Fix        string // where it is not verified: what to set
}

// NewPeer is the other side of conn. The protection is that of a connection that leaves
// this host.
func NewPeer(name string, conn net.Conn, protection Protection, fix string) Peer {
	p := Peer{Name: name, Protection: protection, Fix: fix}
	switch at := conn.RemoteAddr().(type) {
	case *net.UnixAddr:
		p.Address, p.Protection, p.Fix = "a Unix socket", Local, ""
	case *net.TCPAddr:
		p.Address = at.String()
		if at.IP.IsLoopback() {
			p.Protection, p.Fix = Local, ""
		}
	}
	return p
}

// Describe says how the connection is protected.
func (p Peer) Describe() string {
	switch p.Protection {
	case Local:
		return "the connection does not leave this host"
	case Verified:
		return "TLS, and the server's certificate is verified"
	case Unverified:
		return fmt.Sprintf("the connection to %s at %s is encrypted, but the server's certificate is not verified: whoever is in between can pose as the server", p.Name, p.Address)
	case Plaintext:
	}
	return p.plaintext() + ": whoever is in between can read credentials and messages"
}

func (p Peer) plaintext() string {
	return fmt.Sprintf("the connection to %s at %s is not encrypted, or not for certain", p.Name, p.Address)
}

// Check is what doctor says of the connection.
func (p Peer) Check() Check {
	c := Check{Name: p.Name + " encryption", Found: p.Describe()}
	if p.Protection == Unverified || p.Protection == Plaintext {
		c.Severity, c.Fix = Warning, p.Fix
	}
	return c
}

// PlaintextError is of a connection that [Encryption] refuses.
type PlaintextError struct{ Peer }

// Error says what is refused, and what to set.
func (e *PlaintextError) Error() string {
	return e.plaintext() + ": refused by OUTBOX_REQUIRE_TLS: " + e.Fix
}

// Encryption judges each connection before credentials are sent over it. It warns of
// those that others can read, once for each kind of server, or refuses them. Safe for
// concurrent use. Nil: it takes all of them, and says nothing.
type Encryption struct {
	// Required refuses connections in plaintext.
	Required bool
	Logger   *slog.Logger // nil: silence

	mu   sync.Mutex
	told map[told]bool
}

type told struct {
	name       string
	protection Protection
}

// Judge returns an error if the connection must not be used: a [PlaintextError].
func (e *Encryption) Judge(p Peer) error {
	switch {
	case e == nil, p.Protection == Local, p.Protection == Verified:
		return nil
	case p.Protection == Plaintext && e.Required:
		return &PlaintextError{p}
	}
	e.warn(p)
	return nil
}

func (e *Encryption) warn(p Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	of := told{p.Name, p.Protection}
	if e.Logger == nil || e.told[of] {
		return
	}
	if e.told == nil {
		e.told = make(map[told]bool)
	}
	e.told[of] = true
	e.Logger.LogAttrs(context.Background(), slog.LevelWarn, "a connection is not protected",
		slog.String("server", p.Name), slog.String("address", p.Address), slog.String("reason", p.Describe()), slog.String("fix", p.Fix))
}
