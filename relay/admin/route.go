package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
)

// access is what a path asks of its caller.
type access uint8

// The accesses.
const (
	anyone access = iota // where somebody is not trusted, less is told
	probes               // the same, and a token is not looked at
	near                 // from this host, or with the token
	bearer               // with the token
)

var accessNames = [...]string{"anyone", "probes", "near", "bearer"}

// String returns the name in lower case.
func (a access) String() string { return accessNames[a] }

// route is what is served at a path.
type route struct {
	method string // GET stands for HEAD too
	access access
	serve  func(http.ResponseWriter, *http.Request, caller)
}

// routes is what is served, by the path as it is written in the request: no other
// spelling of a path leads anywhere.
type routes map[string]route

// allows lists the methods of a path.
func (r route) allows() string {
	if r.method == http.MethodGet {
		return "GET, HEAD"
	}
	return r.method
}

func (r route) takes(method string) bool {
	return method == r.method || r.method == http.MethodGet && method == http.MethodHead
}

// maxBody bounds what a request brings; the largest is a filter.
const maxBody = 16 << 10

// guard is the outermost handler: what holds for all paths.
func (s *Server) guard(all routes) http.Handler {
	var cross http.CrossOriginProtection
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if !s.hosts.allow(r.Host) {
			answer(w, http.StatusMisdirectedRequest, plainText, fmt.Sprintf("this relay is not known as %s: ask it by its address, or add the name to OUTBOX_HTTP_NAMES",
				relay.Quote(relay.OneLine(hostOf(r.Host)))))
			return
		}
		to, known := all[r.URL.EscapedPath()]
		switch {
		case !known:
			answer(w, http.StatusNotFound, plainText, "there is nothing here")
			return
		case !to.takes(r.Method):
			w.Header().Set("Allow", to.allows())
			answer(w, http.StatusMethodNotAllowed, plainText, "only "+to.allows())
			return
		}
		if err := cross.Check(r); err != nil {
			answer(w, http.StatusForbidden, plainText, "a page of another site may not do this")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		s.admit(w, r, to)
	})
}

// admit serves the route to those whom it is for.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, to route) {
	who := s.caller(r)
	if to.access != probes {
		var err error
		if who.bearer, err = s.bearer(r); err != nil {
			refuse(w, err)
			return
		}
	}
	switch {
	case to.access == bearer && !who.bearer && s.options.Token == nil:
		refuse(w, errNoToken)
	case to.access == bearer && !who.bearer, to.access == near && !who.trusted():
		refuse(w, errTokenWanted)
	default:
		to.serve(w, r, who)
	}
}

// secure sets what a browser has to know of every answer. Nothing is run, shown or
// framed that this server has not sent itself.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
}

var errTokenWanted = fmt.Errorf("this needs OUTBOX_ADMIN_TOKEN, as %q in the Authorization header", "Bearer …")

// refuse answers who may not have what was asked for.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errNoToken):
		code = http.StatusForbidden
	case errors.Is(err, errWrongToken), errors.Is(err, errTokenWanted):
		code = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="outbox-relay"`)
	}
	answer(w, code, plainText, err.Error())
}

const plainText = "text/plain; charset=utf-8"

// oneLine is text fit for a line of a log or of a terminal.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
