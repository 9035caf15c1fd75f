package natsserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Server is a NATS server inside this process.
type Server struct {
	site

	mu   sync.Mutex     // held while the server changes between running and stopped
	nats *server.Server // nil while stopped
}

var errGaveUp = errors.New("server gave up")

// startDeadline bounds a start whose context has no deadline of its own.
const startDeadline = 30 * time.Second

// StartInProcess starts a server in this process and returns when it accepts
// connections. ctx means nothing afterwards. The caller closes the server.
func StartInProcess(ctx context.Context, o Options) (*Server, error) {
	s := &Server{}
	if err := s.prepare(ctx, o, s.start); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	opts, err := server.ProcessConfigFile(s.configFile())
	if err != nil {
		return fmt.Errorf("read NATS configuration: %w", err)
	}
	opts.NoSigs, opts.NoLog = true, true
	opts.StoreDir = s.store
	nats, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("make NATS server: %w", err)
	}
	log := &lastWords{}
	nats.SetLoggerV2(log, false, false, false)
	nats.Start()
	if err := awaitReady(ctx, nats, log); err != nil {
		nats.Shutdown()
		nats.WaitForShutdown()
		return fmt.Errorf("start NATS server: %w%s", err, log)
	}
	s.nats = nats
	return nil
}

// awaitReady returns when the server accepts connections, ctx has ended, or the
// server has given up.
func awaitReady(ctx context.Context, nats *server.Server, log *lastWords) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for ctx.Err() == nil {
		if nats.ReadyForConnections(50 * time.Millisecond) {
			return nil
		}
		if log.isFatal() {
			return errGaveUp
		}
	}
	return fmt.Errorf("wait until it accepts connections: %w", ctx.Err())
}

// Shutdown stops the server: connections end, streams are flushed and kept. It
// returns when everything has ended. A stopped server stays stopped.
func (s *Server) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nats == nil {
		return
	}
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	s.nats = nil
}

// Restart starts a stopped server again, with the same port and store. One that runs
// gives [testbed.ErrRunning].
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nats != nil {
		return fmt.Errorf("start NATS server again: %w", testbed.ErrRunning)
	}
	return s.start(ctx)
}

// Close stops the server and removes its temporary directory. Idempotent.
func (s *Server) Close() error {
	s.Shutdown()
	return s.dir.Close()
}
