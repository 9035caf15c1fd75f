package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// overview is what "status --json" prints. Its names are stable.
type overview struct {
	Relay    relayView    `json:"relay"`
	Database databaseView `json:"database"`
}

type relayView struct {
	Address string `json:"address"`
	Reached bool   `json:"reached"`
	Error   string `json:"error,omitempty"`
	// Status is what /status served; null where the relay was not reached.
	Status *admin.Report `json:"status"`
}

type databaseView struct {
	Table   string `json:"table"`
	Reached bool   `json:"reached"`
	Error   string `json:"error,omitempty"`
	// Rows is null where the database was not reached.
	Rows *rowsView `json:"rows"`
}

type rowsView struct {
	CountedAt        time.Time   `json:"counted_at"`
	Pending          admin.Count `json:"pending"`
	Scheduled        admin.Count `json:"scheduled"`
	Retrying         admin.Count `json:"retrying"`
	Dead             admin.Count `json:"dead"`
	OldestPendingAge float64     `json:"oldest_pending_age_seconds"`
	// Lacks is what the table of an older version has not; empty if it has all.
	Lacks string `json:"lacks"`
	// Partitions is what a person has to do about the table's partitions; empty if nothing.
	Partitions string `json:"partitions"`
}

// askStatus asks both at once, so that one that does not answer does not delay the
// other.
func askStatus(ctx context.Context, c config.Config) overview {
	var o overview
	var tasks sync.WaitGroup
	tasks.Go(func() { o.Relay = viewRelay(ctx, c) })
	tasks.Go(func() { o.Database = askDatabase(ctx, c) })
	tasks.Wait()
	return o
}

func viewRelay(ctx context.Context, c config.Config) relayView {
	report, err := askRelay(ctx, c.Serving)
	if err != nil {
		return relayView{Address: c.HTTPAddr, Error: err.Error()}
	}
	return relayView{Address: c.HTTPAddr, Reached: true, Status: &report}
}

func askRelay(ctx context.Context, at config.Serving) (admin.Report, error) {
	client, err := newClient(at.HTTPAddr, at.AdminToken)
	if err != nil {
		return admin.Report{}, err
	}
	return client.Status(ctx)
}

// askDatabase counts the rows.
func askDatabase(ctx context.Context, c config.Config) databaseView {
	view := databaseView{Table: c.Table.String()}
	stats, err := countRows(ctx, c)
	if err != nil {
		view.Error = err.Error()
		return view
	}
	view.Reached, view.Rows = true, &rowsView{
		CountedAt: time.Now(),
		Pending:   admin.Count(stats.Due), Scheduled: admin.Count(stats.Scheduled), Retrying: admin.Count(stats.Retrying), Dead: admin.Count(stats.Dead),
		OldestPendingAge: stats.OldestAge.Seconds(), Lacks: stats.Lacks, Partitions: stats.Partitions,
	}
	return view
}

func countRows(ctx context.Context, c config.Config) (relay.TableStats, error) {
	database, err := openDatabase(c, hostname(), encryption(c, nil), nil)
	if err != nil {
		return relay.TableStats{}, err
	}
	return database.Stats(ctx)
}

func (o overview) printJSON(w io.Writer) error { return printJSON(w, o) }

func (o overview) printText(w io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, relay.OneLine(fmt.Sprintf(format, args...)))
	}
	if o.Relay.Reached {
		printReport(line, o.Relay)
	} else {
		line("relay", "not reached: %s", o.Relay.Error)
	}
	if r := o.Database.Rows; r != nil {
		line("database", "table %s", o.Database.Table)
		line("  pending", "%s", relay.Count(r.Pending))
		line("  scheduled", "%s", relay.Count(r.Scheduled))
		line("  retrying", "%s", relay.Count(r.Retrying))
		line("  dead", "%s", relay.Count(r.Dead))
		line("  oldest pending", "%s", seconds(r.OldestPendingAge))
		if r.Lacks != "" {
			line("  lacks", "%s: run outbox-relay migrate", r.Lacks)
		}
		if r.Partitions != "" {
			line("  partitions", "%s", r.Partitions)
		}
		if age := since(&r.CountedAt); age > time.Second {
			line("  counted", "%s ago", age)
		}
	} else {
		line("database", "not reached: %s", o.Database.Error)
	}
	table.Flush() // a strings.Builder takes everything
	_, err := io.WriteString(w, b.String())
	return err
}

func printReport(line func(name, format string, args ...any), r relayView) {
	s := r.Status
	line("relay", "%s for %s, table %s, at %s on %s, %s", s.Mode, seconds(s.ModeSeconds), s.Table, r.Address, s.Host, s.Version)
	if s.Reason != "" {
		line("  reason", "%s", s.Reason)
	}
	if s.PausedSince != nil {
		line("  paused", "for %s by %s: %s", since(s.PausedSince), s.PausedBy, s.PauseReason)
	}
	if s.OriginDoubt != "" {
		line("  origin", "%s", s.OriginDoubt)
	}
	ready := "yes"
	if !s.Ready {
		ready = "no: " + s.NotReady
	}
	line("  ready", "%s", ready)
	line("  published", "%d, %.1f a second over the last %s", s.PublishedTotal, s.PublishedPerSecond, seconds(s.RateWindowSeconds))
	line("  refused, dead", "%d, %d", s.RefusedTotal, s.DeadTotal)
	line("  duplicates, reconciled", "%d, %d", s.DuplicateAcksTotal, s.ReconciledTotal)
	line("  in flight, waiting, held keys", "%d, %d, %d", s.InFlight, s.Waiting, s.HeldKeys)
	if s.StalledSince != nil {
		line("  no progress", "for %s: %s", since(s.StalledSince), s.Stalled)
	}
	if s.TableDownSince != nil {
		line("  no row can be marked", "for %s: %s", since(s.TableDownSince), s.TableDown)
	}
	for _, row := range s.Unmarkable {
		line("  cannot be marked", "row %d for %s: %s", row.ID, since(&row.Since), row.Error)
	}
	if more := s.UnmarkableRows - len(s.Unmarkable); more > 0 {
		line("  cannot be marked", "%d more rows", more)
	}
	if s.LockedSince != nil {
		line("  locked by others", "%d rows for %s: %s", s.LockedRows, since(s.LockedSince), blockerNames(s.LockedBy))
	}
	for _, topic := range s.Late {
		line("  late topic", "%s for %s: %s", relay.Quote(topic.Topic), since(&topic.Since), topic.Why)
	}
	if more := s.LateTopics - len(s.Late); more > 0 {
		line("  late topics", "%d more", more)
	}
	if s.SinkDownSince != nil {
		line("  broker", "down for %s: %s", since(s.SinkDownSince), s.SinkDown)
	}
}

func since(at *time.Time) time.Duration { return time.Since(*at).Round(time.Second) }

func seconds(s float64) time.Duration {
	return (time.Duration(s*1000) * time.Millisecond).Round(100 * time.Millisecond)
}
