package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const deadShowHelp = `Prints all of the rows with these ids, dead or not: what the relay says of them, and
their headers and payloads. On a terminal, control characters are replaced, and a long
payload is cut; --json prints the payload as it is, up to 1 MiB.`

// payloadShown is how much of a payload is printed as text, in characters.
const payloadShown = 4096

func newDeadShowCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show id...", Short: "print all of some rows, the payload too", Long: deadShowHelp, ValidArgsFunction: cobra.NoFileCompletions,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON, an object a line")
	var ids rowIDs
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("say which rows: their ids")
		}
		return ids.Set(strings.Join(args, ","))
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDead(cmd, env, relay.ReadDead, func(ctx context.Context, c config.Config, d *postgres.DeadLetters) error {
			rows, err := d.Show(ctx, ids.list)
			if err != nil {
				return fail(cmd, err)
			}
			print := printRow
			if *asJSON {
				print = func(w io.Writer, r relay.WholeRow, now time.Time) error {
					return jsonLines(w).Encode(viewWholeRow(r, now))
				}
			}
			for _, r := range rows {
				if err := print(cmd.OutOrStdout(), r, d.Now()); err != nil {
					return err
				}
			}
			return reportMissing(cmd, c, ids.list, rows)
		})
	}
	return cmd
}

// reportMissing names ids that no row has.
func reportMissing(cmd *cobra.Command, c config.Config, ids []int64, rows []relay.WholeRow) error {
	var missing []string
	for _, id := range ids {
		if !slices.ContainsFunc(rows, func(r relay.WholeRow) bool { return r.ID == id }) {
			missing = append(missing, fmt.Sprint(id))
		}
	}
	if len(missing) > 0 {
		return fail(cmd, fmt.Errorf("%s has no row %s", c.Table, strings.Join(missing, ", ")))
	}
	return nil
}

// rowState is what the row is at that time.
func rowState(r relay.WholeRow, now time.Time) string {
	switch {
	case !r.SentAt.IsZero():
		return "sent"
	case !r.DeadAt.IsZero():
		return "dead"
	case r.AvailableAt.After(now):
		return "waiting"
	}
	return "pending"
}

func printRow(w io.Writer, r relay.WholeRow, now time.Time) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" && value != "-" {
			fmt.Fprintf(table, "%s\t%s\n", name, relay.OneLine(value))
		}
	}
	line("id", fmt.Sprintf("%d (%s)", r.ID, rowState(r, now)))
	line("message_id", r.MessageID.String())
	line("topic", r.Topic)
	if r.Key != nil {
		fmt.Fprintf(table, "key\t%s\n", relay.OneLine(*r.Key)) // the empty key is one
	}
	line("content_type", r.ContentType)
	line("attempts", fmt.Sprint(r.Attempts))
	line("error_type", r.ErrorType)
	line("last_error", r.LastError)
	for _, t := range []struct {
		name string
		at   time.Time
	}{
		{"created_at", r.CreatedAt},
		{"available_at", r.AvailableAt},
		{"first_attempt_at", r.FirstAttemptAt},
		{"dead_at", r.DeadAt},
		{"dead_letter_at", r.DeadLetterAt},
		{"sent_at", r.SentAt},
	} {
		line(t.name, shortTime(t.at))
	}
	if len(r.Headers) > 0 {
		line("headers", string(r.Headers))
	}
	fmt.Fprintf(table, "payload\t%d bytes\n", r.PayloadBytes)
	table.Flush() // a strings.Builder takes everything
	b.WriteString(payloadText(r))
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}

// payloadText is the beginning of the payload, indented. Lines stay, since people write
// JSON in lines.
func payloadText(r relay.WholeRow) string {
	text := string(r.Payload)
	if !utf8.ValidString(text) {
		return "  (not text: --json has it in base64)\n"
	}
	cut := []rune(text)
	more := ""
	if len(cut) > payloadShown {
		cut, more = cut[:payloadShown], "  … (--json prints more)\n"
	}
	var b strings.Builder
	for line := range strings.SplitSeq(string(cut), "\n") {
		b.WriteString("  " + relay.OneLine(strings.TrimRightFunc(line, unicode.IsSpace)) + "\n")
	}
	return b.String() + more
}

// wholeRowView is what "dead show --json" prints of a row. Its names are stable.
type wholeRowView struct {
	deadRowView
	State        string          `json:"state"` // dead, pending, waiting or sent
	AvailableAt  *time.Time      `json:"available_at"`
	SentAt       *time.Time      `json:"sent_at"`
	DeadLetterAt *time.Time      `json:"dead_letter_at"`
	ContentType  string          `json:"content_type"`
	Headers      json.RawMessage `json:"headers"`
	PayloadBytes int64           `json:"payload_bytes"`
	// PayloadCut: only the beginning is here.
	PayloadCut bool `json:"payload_cut"`
	// Payload is the text, or null where it is none.
	Payload       *string `json:"payload"`
	PayloadBase64 []byte  `json:"payload_base64,omitempty"`
}

func viewWholeRow(r relay.WholeRow, now time.Time) wholeRowView {
	v := wholeRowView{
		deadRowView: viewDeadRow(r.DeadRow), State: rowState(r, now),
		AvailableAt: timeOrNull(r.AvailableAt), SentAt: timeOrNull(r.SentAt), DeadLetterAt: timeOrNull(r.DeadLetterAt),
		ContentType: r.ContentType, PayloadBytes: r.PayloadBytes, PayloadCut: int64(len(r.Payload)) < r.PayloadBytes,
	}
	if json.Valid(r.Headers) {
		v.Headers = r.Headers
	}
	switch {
	case r.Payload == nil:
	case utf8.Valid(r.Payload):
		text := string(r.Payload)
		v.Payload = &text
	default:
		v.PayloadBase64 = r.Payload
	}
	return v
}
