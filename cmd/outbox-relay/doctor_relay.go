package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/admin"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

// Names of the checks that a running relay answers.
const (
	checkRelay      = "relay"
	checkProgress   = "progress"
	checkUnmarkable = "unmarkable rows"
	checkLocked     = "locked rows"
)

// examineRelay asks the relay at OUTBOX_HTTP_ADDR for what the table does not show:
// rows that were published and cannot be marked, locks in their way, and whether it
// gets anywhere. Doctor may run where no relay does, so silence is no fault.
func examineRelay(ctx context.Context, c config.Config, here relay.Place) []relay.Check {
	report, err := askRelay(ctx, c.Serving)
	if err != nil {
		return []relay.Check{{
			Name:  checkRelay,
			Found: "none was reached, which alone knows of stalls and of rows that cannot be marked: " + err.Error(),
		}}
	}
	r := relayReport{report, c.HTTPAddr, c.Table}
	if other := r.elsewhere(here, string(c.Environment)); other != "" {
		return []relay.Check{{
			Name: checkRelay, Severity: relay.Warning,
			Found: fmt.Sprintf("the one at %s works %s", c.HTTPAddr, other),
			Fix:   "set OUTBOX_HTTP_ADDR to an address of this table's relay alone",
		}}
	}
	checks := []relay.Check{r.itself()}
	if report.Leader {
		checks = append(checks, r.progress(), r.unmarkable(), r.locked())
	}
	return checks
}

// relayReport is what the relay at an address says.
type relayReport struct {
	admin.Report
	address string
	table   schema.Table
}

// elsewhere says on what else the relay works, if it does: many databases have a table of
// that name. What either side does not know is no difference.
func (r relayReport) elsewhere(here relay.Place, environment string) string {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	switch {
	case r.Table != r.table.String():
		return "on table " + r.Table
	case r.Environment != environment:
		return fmt.Sprintf("in environment %q, and this is %q", r.Environment, environment)
	case differ(r.Database, here.Database):
		return fmt.Sprintf("on database %q, and this is %q", r.Database, here.Database)
	case differ(r.SystemIdentifier, here.System):
		return fmt.Sprintf("on the server with the system identifier %s, and this is %s", r.SystemIdentifier, here.System)
	}
	return ""
}

func (r relayReport) itself() relay.Check {
	check := relay.Check{
		Name:  checkRelay,
		Found: fmt.Sprintf("%s for %s, at %s on %s, %s", r.Mode, seconds(r.ModeSeconds), r.address, r.Host, r.Version),
	}
	if !r.Live || !r.Ready {
		check.Severity = relay.Warning
		check.Found += ", not ready: " + r.NotReady
	}
	return check
}

// progress has no fix where another check has one, or nobody but the server's words
// knows what to do.
func (r relayReport) progress() relay.Check {
	check := relay.Check{Name: checkProgress, Severity: relay.Fault}
	switch {
	case r.PausedSince != nil && r.TableDownSince == nil && r.StalledSince == nil:
		check.Severity, check.Found = relay.Fine, "none is wanted: the table is paused"
	case r.TableDownSince != nil:
		check.Found = fmt.Sprintf("no row can be marked, and nothing else is published, for %s: %s", since(r.TableDownSince), r.TableDown)
		if r.LockedSince == nil && len(r.LockedBy) > 0 {
			check.Found += ": locked by " + r.blockers()
			check.Fix = r.release()
		}
	case r.StalledSince != nil:
		check.Found = fmt.Sprintf("none for %s: %s", since(r.StalledSince), r.Stalled)
	case r.SinkDownSince != nil:
		check.Found = fmt.Sprintf("the broker takes no messages for %s: %s", since(r.SinkDownSince), r.SinkDown)
	default:
		check.Severity, check.Found = relay.Fine, "what is due is sent"
	}
	return check
}

// unmarkable: who deletes a row of this kind loses nothing if it was published. A
// refused one would be lost.
func (r relayReport) unmarkable() relay.Check {
	if r.UnmarkableRows == 0 {
		return relay.Check{Name: checkUnmarkable, Found: "none"}
	}
	var found, fixes []string
	for _, row := range r.Unmarkable {
		what := "published"
		if row.Refused {
			what = "refused by the broker"
		} else if id, err := relay.ParseMessageID(row.MessageID); err == nil {
			fixes = append(fixes, fmt.Sprintf("DELETE FROM %s WHERE id = %d AND message_id = '%s';  -- it was published; or make the table take its mark, and keep it",
				r.table.Quoted(), row.ID, id))
		}
		found = append(found, fmt.Sprintf("row %d (%s, %s ago, tried %d times: %s)", row.ID, what, since(&row.Since), row.Tries, row.Error))
	}
	if more := r.UnmarkableRows - len(r.Unmarkable); more > 0 {
		found = append(found, fmt.Sprintf("and %d more", more))
	}
	return relay.Check{
		Name: checkUnmarkable, Severity: relay.Warning,
		Found: "PostgreSQL refuses to write what became of " + strings.Join(found, ", "), Fix: strings.Join(fixes, "\n"),
	}
}

func (r relayReport) locked() relay.Check {
	if r.LockedSince == nil {
		return relay.Check{Name: checkLocked, Found: "none"}
	}
	by := r.blockers()
	if by == "" {
		by = "sessions that are not known yet"
	}
	wait := "1 published row waits for its mark"
	if r.LockedRows != 1 {
		wait = fmt.Sprintf("%d published rows wait for their mark", r.LockedRows)
	}
	return relay.Check{
		Name: checkLocked, Severity: relay.Warning,
		Found: fmt.Sprintf("%s for %s, locked by %s", wait, since(r.LockedSince), by),
		Fix:   r.release(),
	}
}

func (r relayReport) blockers() string { return blockerNames(r.LockedBy) }

// blockerNames names those who have rows locked.
func blockerNames(blockers []admin.Blocker) string {
	names := make([]string, len(blockers))
	for i, by := range blockers {
		names[i] = relay.Blocker(by).String()
	}
	return strings.Join(names, ", ")
}

// release is a statement for each of them.
func (r relayReport) release() string {
	statements := make([]string, len(r.LockedBy))
	for i, by := range r.LockedBy {
		statements[i] = postgres.Release(int64(by.PID), by.Prepared)
	}
	return strings.Join(statements, "\n")
}
