package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const pauseHelp = `Keeps all relays of the outbox table from publishing anything new, until "outbox-relay
resume": rows wait in the table. What is on its way is awaited and marked. The pause
stands in the table's note, so it outlives restarts and changes of the leader; relays
follow within seconds. They stay ready, and status, doctor and metrics say that they are
paused.

It needs the database only. The table's owner may do it, and the relay's role as
"outbox-relay migrate --role" makes it.`

const resumeHelp = `Ends a pause: relays go on with the rows that wait in the table, within seconds.`

// pauseTimeout is for a database that does not answer.
const pauseTimeout = 30 * time.Second

func newPauseCommand(env []string) *cobra.Command {
	var reason *string
	cmd := newNoteCommand(env, "pause", "keep relays from publishing anything new", pauseHelp, func(ctx context.Context, d *postgres.Database) (pauseView, error) {
		pause, err := d.Pause(ctx, relay.OneLine(*reason))
		return viewPause(pause, true), err
	})
	reason = cmd.Flags().String("reason", "", "why, for those who wonder; shown by status and doctor")
	completeWith(cmd, "reason")
	return cmd
}

func newResumeCommand(env []string) *cobra.Command {
	return newNoteCommand(env, "resume", "end a pause", resumeHelp, func(ctx context.Context, d *postgres.Database) (pauseView, error) {
		pause, err := d.Resume(ctx)
		return viewPause(pause, false), err
	})
}

// newNoteCommand makes a command that changes whether the table is paused.
func newNoteCommand(env []string, name, short, help string, change func(context.Context, *postgres.Database) (pauseView, error)) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Long: help, Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	timeout := addTimeout(cmd, pauseTimeout, "give up after this long")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, config.LoadTable, env)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		database, err := openDatabase(c, hostname(), encryption(c, nil), nil)
		if err != nil {
			return fail(cmd, err)
		}
		view, err := change(ctx, database)
		if err != nil {
			return fail(cmd, err)
		}
		view.Table = c.Table.String()
		return view.print(cmd.OutOrStdout(), *asJSON)
	}
	return cmd
}

// pauseView is what "pause --json" and "resume --json" print. Its names are stable.
type pauseView struct {
	Table  string `json:"table"`
	Paused bool   `json:"paused"`
	// Of the pause that is on, or was ended; null and empty where there was none.
	PausedSince *time.Time `json:"paused_since"`
	PausedBy    string     `json:"paused_by"`
	PauseReason string     `json:"pause_reason"`
}

func viewPause(p relay.Pause, paused bool) pauseView {
	v := pauseView{Paused: paused, PausedBy: p.By, PauseReason: p.Reason}
	if p.On() {
		v.PausedSince = &p.Since
	}
	return v
}

func (v pauseView) print(w io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	}
	text := v.Table + " was not paused"
	if v.PausedSince != nil {
		pause := relay.Pause{Since: *v.PausedSince, By: v.PausedBy, Reason: v.PauseReason}
		text = v.Table + " is " + pause.String()
		if !v.Paused {
			text = v.Table + " goes on; it was " + pause.String()
		}
	}
	_, err := fmt.Fprintln(w, relay.OneLine(text))
	return err
}
