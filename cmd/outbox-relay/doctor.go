package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/relay/tail"
)

const doctorUsage = `Usage: outbox-relay doctor [flags]

Examines all that the relay needs: the database, its log, the table, the broker,
and a stream for each topic in the table. It changes nothing, and may be run beside
relays at work, with their environment.

It prints a line for each thing examined, and what mends the faults and warnings,
ready to be copied: statements for psql end with a semicolon, everything else is a
command or names a variable. It ends with status 1 if there is a fault, which
keeps the relay from its work, else with 0.

Flags:
`

// doctorTimeout is for all of it.
const doctorTimeout = time.Minute

// topicsExamined bounds how many streams are looked up.
const topicsExamined = 100

// runDoctor is the command "doctor".
func runDoctor(ctx context.Context, env, args []string, stdout, stderr io.Writer) int {
	cmd := newAskingCommand("doctor", doctorUsage, doctorTimeout)
	asJSON := cmd.flags.Bool("json", false, "print JSON")
	c, status, done := cmd.parse(config.Load, env, args, stdout, stderr)
	if done {
		return status
	}
	ctx, cancel := context.WithTimeout(ctx, cmd.timeout)
	defer cancel()
	checks, err := examine(ctx, c)
	if err != nil {
		fmt.Fprintln(stderr, "outbox-relay doctor:", err)
		return 1
	}
	result := newDiagnosis(c.Table.String(), checks)
	show := func(w io.Writer) error {
		return result.printText(w, isTerminal(stdout) && !slices.ContainsFunc(env, isNoColor))
	}
	if *asJSON {
		show = result.printJSON
	}
	if err := show(stdout); err != nil {
		fmt.Fprintln(stderr, "outbox-relay doctor: print:", err)
		return 1
	}
	if result.Faults > 0 {
		return 1
	}
	return 0
}

// examine asks the database first, which knows the topics that the broker is
// asked about.
func examine(ctx context.Context, c config.Config) ([]relay.Check, error) {
	host := hostname()
	database, err := openDatabase(c, host, nil)
	if err != nil {
		return nil, err
	}
	found := database.Examine(ctx, topicsExamined)
	checks := found.Checks
	if found.Primary {
		checks = append(checks, examineLog(ctx, c, host, database)...)
	}
	broker, err := examineSink(ctx, c, host, found.Topics)
	return append(checks, broker...), err
}

func examineLog(ctx context.Context, c config.Config, host string, database *postgres.Database) []relay.Check {
	if c.Mode == config.PollingMode {
		return []relay.Check{{Name: "log", Found: "not read: OUTBOX_MODE=polling"}}
	}
	return tail.Examine(ctx, tail.ExamineOptions{
		Options: tail.Options{
			Config: database.ConnConfig(), Table: c.Table, Publication: string(c.Publication),
			ApplicationName: "outbox-relay doctor " + host,
		},
		Needed:  c.Mode == config.ReplicationMode,
		Ungated: c.VisibilityGate == config.GateOff,
	})
}
