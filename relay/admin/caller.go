package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// caller is who asks.
type caller struct {
	// near: from the relay's own host, over the loopback address, and by no proxy that
	// says so.
	near bool
	// bearer: gave the token.
	bearer bool
	// from is the address, for the log.
	from string
}

// trusted: keys, errors and dead letters are for this caller.
func (c caller) trusted() bool { return c.near || c.bearer }

// forwarding are the headers of proxies, by how their names begin: who asks is then not
// who is connected. Envoy, and so a mesh, may send no more than X-Forwarded-Proto.
var forwarding = []string{"Forwarded", "X-Forwarded-", "X-Envoy-", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Via"}

func forwarded(h http.Header) bool {
	for name := range h {
		for _, begins := range forwarding {
			if strings.HasPrefix(name, begins) {
				return true
			}
		}
	}
	return false
}

// foreignPage says that a page of another site has the browser of somebody on the
// relay's host ask. It could not read the answer, but the relay would do the work.
func foreignPage(h http.Header) bool {
	switch h.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin": // no browser, the address typed in, the relay's own page
		return false
	}
	return true
}

// caller tells where a request comes from. The token is another matter.
func (s *Server) caller(r *http.Request) caller {
	c := caller{from: r.RemoteAddr}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	c.near = local != nil && loopbackAddress(local.String()) && loopbackAddress(r.RemoteAddr) && (r.Host == "" || isLoopback(r.Host)) &&
		!forwarded(r.Header) && !foreignPage(r.Header)
	return c
}

func loopbackAddress(address string) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

var (
	errNoToken    = errors.New("OUTBOX_ADMIN_TOKEN is not set, so the relay is read only here")
	errWrongToken = errors.New("the token is wrong")
)

// bearer compares the token of the Authorization header. Without such a header there is
// no error.
func (s *Server) bearer(r *http.Request) (bool, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return false, nil
	}
	if s.options.Token == nil {
		return false, errNoToken
	}
	want, err := s.options.Token() // again: it may have been rotated
	if err != nil {
		// Whoever reaches the address could fill the log otherwise.
		if n, now := s.noToken.pass(repeatAfter); now {
			s.options.Logger.Error("cannot read the admin token", slog.Any("error", err), slog.Int("times", n))
		}
		return false, errors.New("the relay cannot read OUTBOX_ADMIN_TOKEN: its log says why")
	}
	scheme, given, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || !sameText(strings.TrimSpace(given), want) {
		s.wrongToken.report(s.options.Logger, r.RemoteAddr)
		return false, errWrongToken
	}
	return true, nil
}

// sameText compares in a time that depends on neither text. No text is the same as none.
func sameText(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && want != ""
}

// repeatAfter is how often the same is logged at most, whatever callers do.
const repeatAfter = 10 * time.Second

// guesses logs wrong tokens.
type guesses struct{ throttle }

func (g *guesses) report(log *slog.Logger, from string) {
	if n, now := g.pass(repeatAfter); now {
		log.Warn("a wrong admin token was given", slog.String("from", from), slog.Int("times", n))
	}
}
