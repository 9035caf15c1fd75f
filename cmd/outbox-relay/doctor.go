package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/relay/tail"
)

const doctorHelp = `Examines everything the relay needs: the database, its log, the table, the broker,
and a stream for each topic in the table. It changes nothing. Run it with the relay's
environment; it may run beside relays that are working. If one of them answers at
OUTBOX_HTTP_ADDR, it is asked for stalls, and for rows that cannot be marked.

It prints one line for each check, and then how to fix the faults and warnings,
ready to be copied: statements for psql end with a semicolon, everything else is a
command or names a variable. A fault keeps the relay from working. The exit status
is 1 if there is a fault, else 0.`

// doctorTimeout is for all of it.
const doctorTimeout = time.Minute

// topicsExamined bounds how many streams are looked up.
const topicsExamined = 100

func newDoctorCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "examine everything the relay needs, and print how to fix it", Long: doctorHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	timeout := addTimeout(cmd, doctorTimeout, "give up after this long")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, config.Load, env)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		checks, err := examine(ctx, c)
		if err != nil {
			return fail(cmd, err)
		}
		checks = append(checks, examineVariables(env)...)
		result := newDiagnosis(c.Table.String(), checks)
		colour := isTerminal(cmd.OutOrStdout()) && !slices.ContainsFunc(env, isNoColor)
		if err := result.print(cmd.OutOrStdout(), *asJSON, colour); err != nil {
			return err
		}
		if result.Faults > 0 {
			return failed
		}
		return nil
	}
	return cmd
}

// examine starts with the database: the broker is asked about the topics in the table.
func examine(ctx context.Context, c config.Config) ([]relay.Check, error) {
	host := hostname()
	guard := encryption(c, nil)
	database, err := openDatabase(c, host, guard, nil)
	if err != nil {
		return nil, err
	}
	found := database.Examine(ctx, topicsExamined)
	checks := found.Checks
	if found.Primary {
		checks = append(checks, examineLog(ctx, c, host, database)...)
	}
	broker, err := examineSink(ctx, c, host, guard, withDeadLetters(found.Topics, c))
	checks = append(checks, broker...)
	return append(checks, examineRelay(ctx, c, found.Place)...), err
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

// withDeadLetters are the topics of the table, and the one that gets copies of dead rows.
func withDeadLetters(topics []string, c config.Config) []string {
	if c.DeadLetterTopic == "" {
		return topics
	}
	return append(slices.Clip(topics), c.DeadLetterTopic)
}

// examineVariables tells of variables that change nothing.
func examineVariables(env []string) []relay.Check {
	unknown := config.Unknown(env)
	if len(unknown) == 0 {
		return nil
	}
	return []relay.Check{{
		Name: "variables", Severity: relay.Warning,
		Found: strings.Join(unknown, ", ") + ": not known to version " + version() + ", and of no effect",
		Fix:   "outbox-relay help  # lists the variables of this version",
	}}
}
