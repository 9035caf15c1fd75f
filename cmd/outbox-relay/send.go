package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const sendHelp = `Inserts a row into the outbox table, as an application does, and prints its message id.
The relay publishes it. The payload is the second argument, or else what is read from
the standard input. For a table of JSON, text has to be JSON: '"like this"'.

It needs the database alone (OUTBOX_DATABASE_URL, OUTBOX_TABLE), as a role that may
insert rows, which the relay's own may not.

  outbox-relay send orders.created '{"total": 9.90}' --key 42
  outbox-relay send reports.daily --available-at 10m < report.json`

// Bounds of a send.
const (
	maxSendPayload = 64 << 20
	maxSendCount   = 100_000
)

// sendFlags are those of a row.
type sendFlags struct {
	key, contentType string
	headers          headerPairs
	availableAt      dueTime
	count            int
	asJSON           bool
}

func newSendCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "send topic [payload]", Short: "insert a row, for a first message or by hand", Long: sendHelp,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := &sendFlags{}
	flags := cmd.Flags()
	flags.StringVar(&f.key, "key", "", "the `key`: rows of one key keep their order")
	flags.Var(&f.headers, "header", "a `name=value`; may be given more than once")
	flags.StringVar(&f.contentType, "content-type", "", "the content `type`; the table's default unless given")
	flags.Var(&f.availableAt, "available-at", "not before this `time`: 2030-01-31T12:00:00Z, 2030-01-31 12:00 (UTC), or in two hours as 2h")
	flags.IntVar(&f.count, "count", 1, "insert so many rows, all or none, each with a message id of its own")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, an object a line")
	for _, name := range []string{"key", "header", "content-type", "available-at", "count"} {
		completeWith(cmd, name)
	}
	cmd.Args = f.check
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.send(cmd, env, args) }
	return cmd
}

func (f *sendFlags) check(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0 || args[0] == "":
		return errors.New("say to which topic")
	case len(args) > 2:
		return fmt.Errorf("unexpected argument %q: put the payload between quotes", strings.Join(args[2:], " "))
	case f.count < 1 || f.count > maxSendCount:
		return fmt.Errorf("--count %d: expected 1 to %d", f.count, maxSendCount)
	}
	return nil
}

func (f *sendFlags) send(cmd *cobra.Command, env, args []string) error {
	c, err := loadConfig(cmd, config.LoadTable, env)
	if err != nil {
		return err
	}
	draft := postgres.Draft{Topic: args[0], ContentType: f.contentType, Headers: f.headers, AvailableAt: f.availableAt.at, Delay: f.availableAt.in}
	if cmd.Flags().Changed("key") {
		draft.Key = &f.key
	}
	if draft.Payload, err = payloadOf(args, cmd.InOrStdin()); err != nil {
		return fail(cmd, err)
	}
	database, err := openDatabase(c, hostname(), encryption(c, nil), nil)
	if err != nil {
		return fail(cmd, err)
	}
	ids, err := database.Send(cmd.Context(), draft, f.count)
	if err != nil {
		return fail(cmd, err)
	}
	for _, id := range ids {
		if f.asJSON {
			err = jsonLines(cmd.OutOrStdout()).Encode(sentView{id.String()})
		} else {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sentView is what "send --json" prints of a row. Its names are stable.
type sentView struct {
	MessageID string `json:"message_id"`
}

// payloadOf is the second argument, or what is on the standard input. Nobody can end a
// read of that; it ends with the process.
func payloadOf(args []string, in io.Reader) ([]byte, error) {
	if len(args) > 1 {
		return []byte(args[1]), nil
	}
	payload, err := io.ReadAll(io.LimitReader(in, maxSendPayload+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the payload: %w", err)
	case len(payload) > maxSendPayload:
		return nil, fmt.Errorf("the payload is larger than %d MiB", maxSendPayload>>20)
	case len(payload) == 0:
		return nil, errors.New("there is no payload: give it as the second argument, or on the standard input")
	}
	return payload, nil
}

// headerPairs is the value of --header.
type headerPairs map[string]string

// Set reads name=value.
func (h *headerPairs) Set(s string) error {
	name, value, found := strings.Cut(s, "=")
	if !found || name == "" {
		return errors.New("expected name=value")
	}
	if *h == nil {
		*h = headerPairs{}
	}
	(*h)[name] = value
	return nil
}

func (h *headerPairs) String() string {
	if len(*h) == 0 {
		return ""
	}
	text, _ := json.Marshal(*h) // strings always have a JSON
	return string(text)
}

// Type names the value in help.
func (h *headerPairs) Type() string { return "name=value" }

// dueTime is the value of --available-at: a time, or how far off it is.
type dueTime struct {
	at   time.Time
	in   time.Duration
	text string
}

// Set reads a time, or a duration.
func (d *dueTime) Set(s string) error {
	d.text = s
	if in, err := time.ParseDuration(s); err == nil && in > 0 {
		d.in = in
		return nil
	}
	for _, form := range timeForms {
		if at, err := time.Parse(form, s); err == nil {
			d.at = at
			return nil
		}
	}
	return errors.New("expected a time such as 2030-01-31T12:00:00Z, 2030-01-31 12:00 or 2030-01-31 (UTC), or a time from now, such as 30m or 24h")
}

func (d *dueTime) String() string { return d.text }

// Type names the value in help.
func (d *dueTime) Type() string { return "time" }
