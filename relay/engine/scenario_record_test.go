package engine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What stands for the others in a scenario. It notes what the relay asks of them, and
// says what the file says: it behaves like no server. Tests that need a server's
// behaviour have a server.

// sinkRecorder notes what is published, and keeps how to report on it.
type sinkRecorder struct {
	relay.Sink
	scenario *scenario
	reports  map[relay.Ref]func(relay.Outcome)
}

func (k *sinkRecorder) MaxMessageBytes() int64 { return 0 }

func (k *sinkRecorder) Publish(m *relay.Message, report relay.Report) {
	k.scenario.did("publishes %s", refText(m.Ref))
	k.keep(m, report)
}

func (k *sinkRecorder) keep(m *relay.Message, report relay.Report) {
	if k.reports[m.Ref] != nil {
		k.scenario.did("although it has the message already")
	}
	k.reports[m.Ref] = func(o relay.Outcome) { report(m, o) }
}

func (k *sinkRecorder) report(r relay.Ref, o relay.Outcome) {
	report := k.reports[r]
	if report == nil {
		k.scenario.Fatalf("row %s is not with the broker", refText(r))
	}
	delete(k.reports, r)
	report(o)
}

// lanedRecorder names lanes too: one for all messages, but none for those
// that have a topic.
type lanedRecorder struct {
	*sinkRecorder
	now relay.Lane
}

func (k *lanedRecorder) Lane(m *relay.Message) relay.Lane {
	if m.Topic != "" {
		return relay.Lane{}
	}
	return k.now
}

func (k *lanedRecorder) PublishIn(l relay.Lane, m *relay.Message, report relay.Report) {
	k.scenario.did("publishes %s in lane %d", refText(m.Ref), l.Number)
	k.keep(m, report)
}

func (k *lanedRecorder) Flush() {}

// answers are those of the server to what the marker writes.
type answers struct {
	relay.Control
	scenario              *scenario
	refused, locked, dead map[string]bool     // rows by name; "all"; of locked also "table"
	written               map[string][]string // by what was written
	others                int                 // relays that stand by
	paused                bool
}

var (
	errMadeUp       = fmt.Errorf("%w: made up", relay.ErrWriteRefused)
	errMadeUpLocked = fmt.Errorf("%w: %w", relay.ErrTableLocked, relay.ErrWriteRefused)
)

// judge says which rows are written, or that the server refuses them together.
func (a *answers) judge(what string, rows []relay.Ref) ([]relay.Ref, error) {
	if a.locked["table"] {
		return nil, errMadeUpLocked
	}
	var written []relay.Ref
	for _, r := range rows {
		name := refText(r)
		switch {
		case a.refused[name], a.refused["all"]:
			return nil, errMadeUp
		case a.locked[name], a.locked["all"]:
		default:
			written = append(written, r)
		}
	}
	for _, r := range written {
		a.written[what] = append(a.written[what], refText(r))
	}
	return written, nil
}

func (a *answers) Mark(_ context.Context, marks []relay.Mark) ([]relay.Ref, error) {
	rows := make([]relay.Ref, len(marks))
	for i, m := range marks {
		rows[i] = m.Ref
	}
	return a.judge("marks", rows)
}

func (a *answers) Refuse(_ context.Context, _ relay.AttemptLimit, refusals []relay.Refusal) ([]relay.Verdict, error) {
	rows := make([]relay.Ref, len(refusals))
	final := make(map[relay.Ref]bool)
	for i, r := range refusals {
		rows[i] = r.Ref
		final[r.Ref] = r.Final
	}
	written, err := a.judge("writes the refusal of", rows)
	verdicts := make([]relay.Verdict, len(written))
	for i, r := range written {
		verdicts[i] = relay.Verdict{Ref: r, Fate: relay.Waiting, Attempts: 1}
		if final[r] || a.dead[refText(r)] {
			verdicts[i].Fate = relay.Dead
		}
	}
	return verdicts, err
}

func (a *answers) Blockers(context.Context, []relay.Ref) ([]relay.Blocker, error) {
	a.scenario.did("looks who has rows locked")
	return []relay.Blocker{{PID: 4711, Application: "report"}}, nil
}

func (a *answers) Note(context.Context) (relay.Note, error) {
	if a.paused {
		return relay.Note{Pause: relay.Pause{Since: time.Now(), By: "ops"}}, nil
	}
	return relay.Note{}, nil
}

func (a *answers) Standbys(context.Context) (int, error) {
	a.scenario.did("counts the standbys")
	return a.others, nil
}

// slot is a tail as far as a scenario needs it.
type slot struct{ relay.Tail }

func (slot) Slot() string { return "made up" }

// warnings notes what the relay tells people.
type warnings struct {
	slog.Handler
	scenario *scenario
}

func (w warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	w.scenario.did("warns: %s", r.Message)
	return nil
}

var _ relay.Control = (*answers)(nil)
