package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "print commands and environment variables, or the help of a command",
		Long:  "Prints the commands and the environment variables, or the help of one command.",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return commandNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			subject, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return knownCommand(cmd, rest)
			}
			printHelp(subject, nil)
			return nil
		},
	}
}

// printHelp prints the help of a command. dispatch reports a failed write.
func printHelp(cmd *cobra.Command, _ []string) {
	text := usage(cmd)
	if !cmd.HasParent() {
		text = programHelp()
	}
	fmt.Fprint(cmd.OutOrStdout(), text)
}

// usage is the help of one command.
func usage(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag() // cobra would add it later, and the line would differ
	line := cmd.UseLine()
	if cmd.Name() == "run" {
		line = "outbox-relay [run]"
	}
	return "Usage: " + line + "\n\n" + cmd.Long + "\n\nFlags:\n" + cmd.LocalFlags().FlagUsages()
}

// programHelp lists the commands, and the variables from the table by which the
// configuration is parsed.
func programHelp() string {
	var b strings.Builder
	b.WriteString("outbox-relay moves rows from an outbox table in PostgreSQL to NATS JetStream or RabbitMQ.\n\n")
	b.WriteString("Usage: outbox-relay [command] [flags]\n\nCommands:\n")
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range commands(nil) {
		fmt.Fprintf(table, "  %s\t%s\n", c.Name(), c.Short)
	}
	table.Flush() // a strings.Builder takes everything
	b.WriteString("\nEvery command has --help.\n")
	b.WriteString("\nEnvironment variables (* also as NAME_FILE, the path of a file with the value):\n")
	for _, v := range config.Table() {
		file := ""
		if v.Secret {
			file = "*"
		}
		fmt.Fprintf(table, "  %s%s\t%s\t%s\n", v.Name, file, v.Default, v.Description)
	}
	table.Flush()
	return b.String()
}
