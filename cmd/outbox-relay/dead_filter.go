package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/relay"
)

// deadFilter is the flags that choose dead rows.
type deadFilter struct {
	topic, key, message, errorType string
	before, after                  pointInTime
	ids                            rowIDs
	limit                          int
	all                            bool
}

// filterFlags are those that choose; --limit does not.
var filterFlags = []string{"topic", "key", "error", "type", "before", "after", "id"}

func addDeadFilter(cmd *cobra.Command, limit int) *deadFilter {
	f := &deadFilter{}
	flags := cmd.Flags()
	flags.StringVar(&f.topic, "topic", "", "only this `topic`; * is any text, ? any one character")
	flags.StringVar(&f.key, "key", "", "only this `key`")
	flags.StringVar(&f.message, "error", "", "only rows whose last_error contains this `text`, in capitals or not")
	flags.StringVar(&f.errorType, "type", "", "only this `error_type`, such as unroutable")
	flags.Var(&f.before, "before", "only rows that have died until this `time`: 2026-01-31T12:00:00Z, 2026-01-31 12:00, 2026-01-31 (UTC), or 2h ago as 2h")
	flags.Var(&f.after, "after", "only rows that have died since this `time`")
	flags.Var(&f.ids, "id", "only the rows with these `ids`, separated by commas; may be given more than once")
	flags.IntVar(&f.limit, "limit", limit, "at most so many rows; 0 for all")
	for _, name := range filterFlags {
		completeWith(cmd, name)
	}
	completeWith(cmd, "limit")
	return f
}

// rows is what the flags choose.
func (f *deadFilter) rows(cmd *cobra.Command) relay.DeadFilter {
	filter := relay.DeadFilter{
		IDs: f.ids.list, Topic: f.topic, Error: f.message, Type: f.errorType,
		Since: f.after.Time, Until: f.before.Time,
	}
	if cmd.Flags().Changed("key") {
		filter.Key = &f.key
	}
	return filter
}

// check refuses what has to be meant: that a command works on all dead rows, or chooses
// some of all.
func (f *deadFilter) check(cmd *cobra.Command) error {
	chosen := slices.ContainsFunc(filterFlags, cmd.Flags().Changed)
	// A variable of a script that is not set must not choose all rows. A key may be empty.
	for name, text := range map[string]string{"topic": f.topic, "error": f.message, "type": f.errorType, "before": f.before.text, "after": f.after.text} {
		if text == "" && cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s is empty: leave it out, or say which", name)
		}
	}
	switch {
	case f.limit < 0:
		return fmt.Errorf("--limit %d: expected 0 or more", f.limit)
	case cmd.Flags().Lookup("all") == nil:
	case !chosen && !f.all:
		return errors.New("say which dead rows: --id, --topic, --key, --error, --type, --before, --after, or --all")
	case chosen && f.all:
		return errors.New("--all is for all dead rows: leave it out, or the other filters")
	}
	return nil
}

// pointInTime is the value of --before and --after.
type pointInTime struct {
	time.Time
	text string
}

// timeForms are how a time can be written, beside a duration. Without a zone it is UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly}

// Set reads a time, or how long ago it was.
func (p *pointInTime) Set(s string) error {
	p.text = s
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		p.Time = time.Now().Add(-ago)
		return nil
	}
	for _, form := range timeForms {
		if at, err := time.Parse(form, s); err == nil {
			p.Time = at
			return nil
		}
	}
	return errors.New("expected a time such as 2026-01-31T12:00:00Z, 2026-01-31 12:00 or 2026-01-31 (UTC), or how long ago, such as 30m or 24h")
}

func (p *pointInTime) String() string { return p.text }

// Type names the value in help.
func (p *pointInTime) Type() string { return "time" }

// rowIDs is the value of --id.
type rowIDs struct{ list []int64 }

// Set reads ids, separated by commas.
func (r *rowIDs) Set(s string) error {
	for text := range strings.SplitSeq(s, ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return fmt.Errorf("expected ids of rows, such as 42 or 42,43: %q is none", text)
		}
		r.list = append(r.list, id)
	}
	return nil
}

func (r *rowIDs) String() string { return strings.Trim(fmt.Sprint(r.list), "[]") }

// Type names the value in help.
func (r *rowIDs) Type() string { return "ids" }
