package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

// runHelp is the command "help". The table of variables is that by which the
// configuration is parsed.
func runHelp(_ context.Context, _, args []string, stdout, stderr io.Writer) int {
	if refuseArguments("help", args, stderr) {
		return 2
	}
	if err := printHelp(stdout); err != nil {
		fmt.Fprintln(stderr, "outbox-relay: print help:", err)
		return 1
	}
	return 0
}

func printHelp(w io.Writer) error {
	var b strings.Builder
	b.WriteString("outbox-relay moves rows from an outbox table in PostgreSQL to NATS JetStream or RabbitMQ.\n\n")
	b.WriteString("Usage: outbox-relay [command]\n\nCommands:\n")
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(table, "  %s\t%s\n", c.name, c.summary)
	}
	table.Flush() // a strings.Builder takes everything
	b.WriteString("\nEnvironment variables (* also as NAME_FILE, the path of a file with the value):\n")
	for _, v := range config.Table() {
		file := ""
		if v.Secret {
			file = "*"
		}
		fmt.Fprintf(table, "  %s%s\t%s\t%s\n", v.Name, file, v.Default, v.Description)
	}
	table.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}
