package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Options of a [Server].
type Options struct {
	// Status is asked at each request and once a second; it does not block.
	Status func() relay.Status
	// NeedsTail: a leader that has to poll is not ready.
	NeedsTail bool

	// Metrics is served at /metrics; nil: not found.
	Metrics http.Handler
	// Census is the last counting of the table's rows; nil: /status has no rows.
	Census func() relay.Census

	// Watch is told when somebody looks at the page, for which [relay.Census.Members] is
	// wanted; nil: nobody has to know. Delivered counts the acknowledged messages by how
	// long they took, up to each of some seconds and beyond; nil: the page has no latency.
	Watch     func()
	Delivered func() (upTo []float64, counts []uint64)
	Broker    string // as people call it

	// OpenDead opens a session for dead rows; nil: there is nothing about them.
	OpenDead func(context.Context, relay.DeadAccess) (DeadLetters, error)

	// Token is asked at each request that brings one; nil: none is set, and nothing can be
	// changed. Hosts are names under which the relay is asked, beside its own.
	Token func() (string, error)
	Hosts Hosts

	// These are told by /status as they are.
	Version, Table, Environment, Host, WantedMode string

	Logger *slog.Logger // nil: silence
}

// Server answers at one address.
type Server struct {
	options Options
	started time.Time
	address string
	http    *http.Server
	hosts   allowedHosts

	wrongToken  guesses
	noToken     throttle // of the log: it cannot be read
	connections connections

	cancel context.CancelFunc
	tasks  sync.WaitGroup

	history   history
	snapshots snapshots
	// reading has room for one request that reads dead rows.
	reading chan struct{}
	deed    deed
	running context.Context // ends when the server is closed

	mu    sync.Mutex
	meter meter
}

// Timeouts. Requests and answers are small: a peer that takes longer is stuck or hostile.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
	idleTimeout  = time.Minute
	maxHeader    = 16 << 10
)

// Listen takes the address and starts to answer. The error is that of an address that
// is taken, or is not one of this host. The caller closes the server.
func Listen(ctx context.Context, address string, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{options: o, started: time.Now(), address: listener.Addr().String(), reading: make(chan struct{}, 1)}
	s.hosts = newAllowedHosts(address, s.address, o.Host, o.Hosts)
	s.http = &http.Server{
		Handler:     s.handler(),
		ReadTimeout: readTimeout, ReadHeaderTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ConnState: s.connections.changed,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	s.running, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.tasks.Go(func() { s.serve(listener) })
	s.tasks.Go(func() { s.measure(s.running) })
	return s, nil
}

// Address is where the server listens, with the port that it got where 0 was
// asked for.
func (s *Server) Address() string { return s.address }

// Health says why a restart may help, or nothing, and what the relay does: what /livez
// answers.
func (s *Server) Health() (fault, doing string) {
	status := s.options.Status()
	return oneLine(s.notLive(status, time.Now())), activity(status)
}

// Close answers the requests that have come, until ctx ends, and frees the address.
func (s *Server) Close(ctx context.Context) error {
	s.cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("await requests under way: %w", err), s.http.Close())
	}
	s.tasks.Wait()
	return err
}

func (s *Server) serve(listener net.Listener) {
	if err := s.http.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		// The relay does its work all the same; a probe notices.
		s.options.Logger.Error("cannot serve HTTP any more", slog.String("address", s.address), slog.Any("error", err))
	}
}

// measure takes a reading of the counter once a second, so that the first request has
// a rate too, and a sample for the plots now and then.
func (s *Server) measure(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var sampled time.Time
	for {
		status, now := s.options.Status(), time.Now()
		s.mu.Lock()
		s.meter.add(now, status.Published)
		s.mu.Unlock()
		if now.Sub(sampled) >= sampleEvery {
			sampled = now.Truncate(sampleEvery)
			s.sample(now, status)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) sample(now time.Time, status relay.Status) {
	m := moment{at: now, status: status, census: s.census(caller{near: true})}
	if s.options.Delivered != nil {
		m.upTo, m.delivered = s.options.Delivered()
	}
	s.history.add(m)
}

// The paths.
const (
	pathLive    = "/livez"
	pathReady   = "/readyz"
	pathStatus  = "/status"
	pathMetrics = "/metrics"

	pathSnapshot = "/api/snapshot"
)

func (s *Server) handler() http.Handler {
	all := routes{
		pathLive:   {http.MethodGet, probes, s.probe(s.notLive)},
		pathReady:  {http.MethodGet, probes, s.probe(s.notReady)},
		pathStatus: {http.MethodGet, anyone, s.serveReport},

		pathSnapshot: {http.MethodGet, anyone, s.serveSnapshot},
	}
	if s.options.Metrics != nil {
		all[pathMetrics] = route{http.MethodGet, probes, func(w http.ResponseWriter, r *http.Request, _ caller) { s.options.Metrics.ServeHTTP(w, r) }}
	}
	s.addProfiles(all)
	s.addDead(all)
	s.addPage(all)
	return s.guard(all)
}

func (s *Server) serveReport(w http.ResponseWriter, _ *http.Request, c caller) {
	text, err := json.MarshalIndent(s.report(c, time.Now()), "", "  ")
	if err != nil { // a report always can be written as JSON
		answer(w, http.StatusInternalServerError, plainText, err.Error())
		return
	}
	answer(w, http.StatusOK, "application/json", string(text))
}

// probe answers with the mode, or with what is wrong.
func (s *Server) probe(fault func(relay.Status, time.Time) string) func(http.ResponseWriter, *http.Request, caller) {
	return func(w http.ResponseWriter, _ *http.Request, c caller) {
		status := s.status(c)
		if why := fault(status, time.Now()); why != "" {
			answer(w, http.StatusServiceUnavailable, plainText, oneLine(why))
			return
		}
		answer(w, http.StatusOK, plainText, activity(status))
	}
}

func answer(w http.ResponseWriter, code int, contentType, text string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // the peer may have gone
}
