package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
)

const watchHelp = `Prints the messages that arrive at the broker (OUTBOX_SINK_URL), a line each, until
SIGINT. A pattern of topics, in the broker's syntax, chooses: 'orders.>' on NATS,
'orders.#' on RabbitMQ. It acknowledges nothing to others and changes no message.

NATS: it reads the streams that have such subjects. With --all it begins with what they
have stored. RabbitMQ: it binds a queue of its own to OUTBOX_RABBITMQ_EXCHANGE, which
ends with it. While that queue is there, a message that no other queue takes counts as
delivered: the relay marks it sent, and nobody else gets it.`

// watchedPayload is how much of a payload is printed in a line, in characters.
const watchedPayload = 500

// watchFlags are those of the command.
type watchFlags struct {
	all     bool
	count   int
	timeout *time.Duration
	asJSON  bool
}

func newWatchCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch [pattern]", Short: "print the messages that arrive at the broker", Long: watchHelp,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := &watchFlags{}
	cmd.Flags().BoolVar(&f.all, "all", false, "NATS: also what the streams have stored before")
	cmd.Flags().IntVar(&f.count, "count", 0, "end after so many messages; 0 for never")
	f.timeout = addTimeout(cmd, 0, "end after this long, with exit status 1 if --count was not reached; 0 for never")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON, an object a line, with whole payloads")
	completeWith(cmd, "count")
	cmd.Args = f.check
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := loadConfig(cmd, config.LoadSink, env)
		if err != nil {
			return err
		}
		return f.watch(cmd, c, strings.Join(args, ""))
	}
	return cmd
}

func (f *watchFlags) check(_ *cobra.Command, args []string) error {
	switch {
	case len(args) > 1:
		return fmt.Errorf("unexpected argument %q: put the pattern between quotes", strings.Join(args[1:], " "))
	case f.count < 0:
		return fmt.Errorf("--count %d: expected 0 or more", f.count)
	case *f.timeout < 0:
		return fmt.Errorf("--timeout %v: expected 0 or more", *f.timeout)
	}
	return nil
}

func (f *watchFlags) watch(cmd *cobra.Command, c config.Config, pattern string) error {
	ctx := cmd.Context()
	if *f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *f.timeout)
		defer cancel()
	}
	seen := 0
	var unprinted error
	err := watchSink(ctx, c, hostname(), relay.Watch{
		Pattern: pattern, All: f.all,
		Say: func(what string) {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", cmd.CommandPath(), lines(errors.New(what)))
		},
		Take: func(a *relay.Arrival) bool {
			if unprinted = f.print(cmd, a); unprinted != nil {
				return false
			}
			seen++
			return f.count == 0 || seen < f.count
		},
	})
	switch {
	case unprinted != nil:
		return unprinted
	case err != nil:
		return fail(cmd, err)
	case f.count > seen && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fail(cmd, fmt.Errorf("%s in %v, and not %d", number(seen, "message"), *f.timeout, f.count))
	}
	return nil
}

func (f *watchFlags) print(cmd *cobra.Command, a *relay.Arrival) error {
	if f.asJSON {
		return jsonLines(cmd.OutOrStdout()).Encode(viewArrival(a))
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), arrivalLine(a))
	return err
}

// arrivalLine is a message in a line: topic, key, id and headers, and the payload as far as
// it is text.
func arrivalLine(a *relay.Arrival) string {
	parts := []string{a.Topic}
	if a.Key != nil {
		parts = append(parts, "key="+*a.Key)
	}
	if a.MessageID != "" {
		parts = append(parts, "message_id="+a.MessageID)
	}
	for _, h := range a.Headers {
		parts = append(parts, h.Name+"="+h.Value)
	}
	text := string(a.Payload)
	if !utf8.ValidString(text) {
		text = fmt.Sprintf("(%d bytes that are not text)", len(a.Payload))
	}
	if runes := []rune(text); len(runes) > watchedPayload {
		text = string(runes[:watchedPayload]) + "…"
	}
	return relay.OneLine(strings.Join(append(parts, text), " "))
}

// arrivalView is what "watch --json" prints of a message. Its names are stable.
type arrivalView struct {
	Topic       string            `json:"topic"`
	MessageID   string            `json:"message_id"`
	Key         *string           `json:"key"`
	ContentType string            `json:"content_type"`
	Headers     map[string]string `json:"headers"`
	// ArrivedAt is when the broker got it, by NATS, and the row's created_at, by RabbitMQ.
	ArrivedAt *time.Time `json:"arrived_at"`
	// Payload is the text, or null where it is none.
	Payload       *string `json:"payload"`
	PayloadBase64 []byte  `json:"payload_base64,omitempty"`
}

func viewArrival(a *relay.Arrival) arrivalView {
	v := arrivalView{
		Topic: a.Topic, MessageID: a.MessageID, Key: a.Key, ContentType: a.ContentType,
		Headers: make(map[string]string, len(a.Headers)), ArrivedAt: timeOrNull(a.At),
	}
	for _, h := range a.Headers {
		v.Headers[h.Name] = h.Value
	}
	if utf8.Valid(a.Payload) {
		text := string(a.Payload)
		v.Payload = &text
	} else {
		v.PayloadBase64 = a.Payload
	}
	return v
}
