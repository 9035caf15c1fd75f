package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// supervisor is systemd, where it has started the relay by a unit of Type=notify. It is
// told when the relay starts and ends, what it is doing, and, for as long as the
// relay's loop turns, that it is alive: a loop that hangs is started again, as a liveness probe
// does in Kubernetes. The zero value is nobody, who is told nothing.
type supervisor struct {
	socket   string        // the path, or @ and the name of an abstract one
	watchdog time.Duration // it takes the relay for dead after so long a silence; 0: never
}

// retell is how often the status is told where no watchdog asks for more.
const retell = 10 * time.Second

// newSupervisor reads what systemd has put into the environment (sd_notify(3)).
func newSupervisor(environ []string) supervisor {
	values := map[string]string{}
	for _, v := range environ {
		if name, value, ok := strings.Cut(v, "="); ok {
			values[name] = value
		}
	}
	s := supervisor{socket: values["NOTIFY_SOCKET"]}
	// A watchdog may be meant for another process, which handed its environment on.
	if pid := values["WATCHDOG_PID"]; pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if n, err := strconv.ParseInt(values["WATCHDOG_USEC"], 10, 64); err == nil && n > 0 {
			s.watchdog = time.Duration(n) * time.Microsecond
		}
	}
	return s
}

// follow tells the supervisor until stop is called, which waits. health says why a
// restart may help, or nothing, and what the relay does.
func (s supervisor) follow(ctx context.Context, health func() (fault, doing string), log *slog.Logger) (stop func()) {
	if s.socket == "" {
		return func() {}
	}
	s.tell(log, "READY=1")
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.repeat(ctx, done, health, log)
	}()
	return func() {
		close(done)
		<-stopped
	}
}

// repeat goes on after ctx has ended: what is in flight is awaited then, for which
// the watchdog does not wait.
func (s supervisor) repeat(ctx context.Context, done <-chan struct{}, health func() (string, string), log *slog.Logger) {
	every := retell
	if s.watchdog > 0 {
		every = min(every, s.watchdog/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	ending := ctx.Done()
	for {
		fault, doing := health()
		if fault == "" {
			s.tell(log, "WATCHDOG=1", "STATUS="+doing)
		} else {
			s.tell(log, "STATUS="+fault)
		}
		select {
		case <-tick.C:
		case <-ending:
			s.tell(log, "STOPPING=1")
			ending = nil
		case <-done:
			return
		}
	}
}

// tell sends one message. That nobody takes it is told, and nothing else: the relay's work
// does not depend on it.
func (s supervisor) tell(log *slog.Logger, lines ...string) {
	if err := s.send(strings.Join(lines, "\n")); err != nil {
		log.Debug("cannot tell systemd", slog.Any("error", err))
	}
}

func (s supervisor) send(message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("connect to NOTIFY_SOCKET: %w", err)
	}
	defer func() { _ = conn.Close() }()
	// A systemd that does not read must not hold up the end of the relay.
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("bound the write to NOTIFY_SOCKET: %w", err)
	}
	if _, err := conn.Write([]byte(message)); err != nil {
		return fmt.Errorf("write to NOTIFY_SOCKET: %w", err)
	}
	return nil
}
