package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
)

// command is one of the program's commands. run returns the exit status.
type command struct {
	name    string
	summary string
	run     func(ctx context.Context, env, args []string, stdout, stderr io.Writer) int
}

// commands is the one list of them, in the order in which help shows them.
func commands() []command {
	return []command{
		{"run", "send the rows of the outbox table to the broker (the default)", runRelay},
		{"migrate", "make the outbox table, or add what it lacks", runMigrate},
		{"schema", "print the SQL of migrate", runSchema},
		{"doctor", "examine all that the relay needs, and print what mends it", runDoctor},
		{"status", "print what the relay is at and how many rows wait", runStatus},
		{"health", "ask the relay whether it is alive, for container probes", runHealth},
		{"version", "print the version", runVersion},
		{"help", "print commands and environment variables", runHelp},
	}
}

func main() {
	ctx, stop := untilSignal(context.Background())
	status := dispatch(ctx, os.Environ(), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// dispatch runs the command that the arguments name.
func dispatch(ctx context.Context, env, args []string, stdout, stderr io.Writer) int {
	name, rest := "run", args
	if len(args) > 0 {
		name, rest = args[0], args[1:]
	}
	switch {
	case isHelp(name):
		name = "help"
	case name == "--version":
		name = "version"
	}
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, env, rest, stdout, stderr)
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(stderr, "outbox-relay: there is no command %q; there are: %s\n", name, strings.Join(names, ", "))
	return 2
}

// isHelp says whether an argument asks for help.
func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// refuseArguments is for commands that take none: it tells the first of them
// and says whether there was one.
func refuseArguments(command string, args []string, stderr io.Writer) bool {
	if len(args) == 0 {
		return false
	}
	fmt.Fprintf(stderr, "outbox-relay %s: unexpected argument %q: it takes none\n", command, args[0])
	return true
}
