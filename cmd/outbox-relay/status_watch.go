package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
)

// minInterval is the least pause between two looks.
const minInterval = 100 * time.Millisecond

// recount is how often a watcher counts the rows by itself. It does so only where no
// relay answers: a relay counts them anyway, and many may watch.
const recount = 15 * time.Second

// watcher looks at the relay and the table again and again.
type watcher struct {
	config   config.Config
	interval time.Duration
	timeout  time.Duration // of one look
	show     func(overview) error

	counted  time.Time // when it last counted by itself
	database databaseView
}

func newWatcher(cmd *cobra.Command, env []string, c config.Config, interval, timeout time.Duration, asJSON bool) *watcher {
	w := &watcher{config: c, interval: interval, timeout: timeout}
	out := cmd.OutOrStdout()
	switch {
	case asJSON:
		w.show = func(o overview) error { return jsonLines(out).Encode(o) }
	case isTerminal(out) && !slices.Contains(env, "TERM=dumb"):
		w.show = (&screen{Writer: out}).draw
	default:
		w.show = func(o overview) error {
			_, err := fmt.Fprintln(out, o.line(time.Now()))
			return err
		}
	}
	return w
}

// run looks until ctx ends, which is what the user wants.
func (w *watcher) run(ctx context.Context) error {
	for {
		o := w.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := w.show(o); err != nil {
			return err
		}
		if relay.Sleep(ctx, w.interval) != nil {
			return nil
		}
	}
}

func (w *watcher) look(ctx context.Context) overview {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	o := overview{Relay: viewRelay(ctx, w.config)}
	if counted := w.countedBy(o.Relay); counted != nil {
		o.Database = *counted
		return o
	}
	if time.Since(w.counted) >= recount {
		w.database = askDatabase(ctx, w.config)
		w.counted = time.Now()
	}
	o.Database = w.database
	return o
}

// countedBy are the rows as a relay of this table has counted them; nil if none has, or it
// cannot any more.
func (w *watcher) countedBy(r relayView) *databaseView {
	if r.Status == nil || r.Status.Rows == nil || r.Status.Rows.NotCounted != "" || r.Status.Table != w.config.Table.String() {
		return nil
	}
	rows := r.Status.Rows
	return &databaseView{Table: r.Status.Table, Reached: true, Rows: &rowsView{
		CountedAt: rows.CountedAt, Pending: rows.Pending, Scheduled: rows.Scheduled, Retrying: rows.Retrying, Dead: rows.Dead,
		OldestPendingAge: rows.OldestPendingAge, Lacks: rows.Lacks, Partitions: rows.Partitions,
	}}
}

// screen is a terminal that is drawn over and over.
type screen struct {
	io.Writer
	drawn bool
}

// What a terminal is told: ECMA-48.
const (
	clearScreen = "\x1b[2J"
	toTheTop    = "\x1b[H"
	clearLine   = "\x1b[K" // to its end
	clearRest   = "\x1b[J"
)

// draw writes over what is there, line by line: a screen that is cleared first flickers.
func (s *screen) draw(o overview) error {
	var text, b strings.Builder
	if err := o.printText(&text); err != nil {
		return err
	}
	if !s.drawn {
		b.WriteString(clearScreen)
		s.drawn = true
	}
	b.WriteString(toTheTop)
	for line := range strings.Lines(text.String()) {
		b.WriteString(strings.TrimSuffix(line, "\n") + clearLine + "\n")
	}
	b.WriteString(clearLine + time.Now().Format(time.TimeOnly) + ", until it is interrupted" + clearLine + clearRest)
	_, err := io.WriteString(s, b.String())
	return err
}

// line is all of it in one line, what is wrong at the end.
func (o overview) line(now time.Time) string {
	parts := []string{now.UTC().Format(time.RFC3339)}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if s := o.Relay.Status; s != nil {
		add("%s, %.1f a second", s.Mode, s.PublishedPerSecond)
	} else {
		add("relay not reached: %s", o.Relay.Error)
	}
	if r := o.Database.Rows; r != nil {
		add("pending %s, oldest %s, retrying %s, dead %s",
			relay.Count(r.Pending), seconds(r.OldestPendingAge), relay.Count(r.Retrying), relay.Count(r.Dead))
	} else {
		add("database not reached: %s", o.Database.Error)
	}
	if wrong := o.Relay.wrong(); wrong != "" {
		add("%s", wrong)
	}
	return relay.OneLine(strings.Join(parts, "  "))
}

// wrong is the first thing that is wrong with the relay; empty if nothing is.
func (r relayView) wrong() string {
	s := r.Status
	switch {
	case s == nil:
		return ""
	case s.TableDownSince != nil:
		return fmt.Sprintf("no row can be marked for %s: %s", since(s.TableDownSince), s.TableDown)
	case s.StalledSince != nil:
		return fmt.Sprintf("no progress for %s: %s", since(s.StalledSince), s.Stalled)
	case s.SinkDownSince != nil:
		return fmt.Sprintf("the broker takes no messages for %s: %s", since(s.SinkDownSince), s.SinkDown)
	case !s.Ready:
		return "not ready: " + s.NotReady
	}
	return s.Reason
}
