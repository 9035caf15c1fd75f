package admin

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"
)

// pathProfiles is where the profiles of package runtime/pprof are.
const pathProfiles = "/debug/pprof/"

// maxProfile is how long a profile may take, in seconds.
const maxProfile = 60

// profiles are what tells where the relay's time and memory go: for who has the token,
// one at a time, since some of them slow the relay down.
func (s *Server) addProfiles(to routes) {
	var busy sync.Mutex
	one := func(serve http.HandlerFunc) route {
		return route{http.MethodGet, bearer, func(w http.ResponseWriter, r *http.Request, _ caller) {
			if text := r.URL.Query().Get("seconds"); text != "" {
				if n, err := strconv.ParseFloat(text, 64); err != nil || !(n >= 0 && n <= maxProfile) {
					answer(w, http.StatusBadRequest, plainText, "seconds: expected a number, at most "+strconv.Itoa(maxProfile))
					return
				}
			}
			if !busy.TryLock() {
				answer(w, http.StatusTooManyRequests, plainText, "another profile is being taken: try again later")
				return
			}
			defer busy.Unlock()
			serve(w, r)
		}}
	}
	to[pathProfiles] = one(pprof.Index)
	to[pathProfiles+"cmdline"] = one(pprof.Cmdline)
	to[pathProfiles+"profile"] = one(pprof.Profile)
	to[pathProfiles+"symbol"] = one(pprof.Symbol)
	to[pathProfiles+"trace"] = one(pprof.Trace)
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		to[pathProfiles+name] = one(pprof.Handler(name).ServeHTTP)
	}
}
