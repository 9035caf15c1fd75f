package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/schema"
)

const schemaUsage = `Usage: outbox-relay schema [flags]

Prints the SQL that "outbox-relay migrate" runs, for the application's own
migration tool. It reads OUTBOX_TABLE and OUTBOX_PUBLICATION, and needs no database.

Flags:
`

// runSchema is the command "schema".
func runSchema(_ context.Context, env, args []string, stdout, stderr io.Writer) int {
	cmd := newTableCommand("schema", schemaUsage)
	if status, done := cmd.parse(config.LoadNames, env, args, stdout, stderr); done {
		return status
	}
	script := schema.SQL(cmd.options())
	if cmd.role != "" {
		script += "\n" + schema.RoleSQL(cmd.roleOptions())
	}
	if _, err := io.WriteString(stdout, script); err != nil {
		fmt.Fprintln(stderr, "outbox-relay: print the SQL:", err)
		return 1
	}
	return 0
}

// tableCommand is what "migrate" and "schema" have in common: which table they
// are about, and how.
type tableCommand struct {
	flags *flag.FlagSet
	usage string

	payload schema.PayloadType
	role    string
	config  config.Config
}

func newTableCommand(name, usage string) *tableCommand {
	c := &tableCommand{flags: flag.NewFlagSet(name, flag.ContinueOnError), usage: usage}
	c.flags.SetOutput(io.Discard) // parse prints, each thing where it belongs
	c.flags.Func("payload-type", "`type` of the payload column: json (default), jsonb, text or bytea", func(s string) (err error) {
		c.payload, err = schema.ParsePayloadType(s)
		return err
	})
	c.flags.Func("role", "also make the relay's least-privilege role of this `name`, SQL identifier syntax", func(s string) (err error) {
		c.role, err = schema.ParseIdentifier(s)
		return err
	})
	return c
}

// loader is one of the config package's, which differ in what they require.
type loader func(environ []string) (config.Config, error)

// parse reads the flags and the environment. done says that the command ends
// here with status.
func (c *tableCommand) parse(load loader, env, args []string, stdout, stderr io.Writer) (status int, done bool) {
	err := c.flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		c.printUsage(stdout)
		return 0, true
	}
	if err == nil && c.flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", strings.Join(c.flags.Args(), " "))
	}
	if err != nil {
		fmt.Fprintf(stderr, "outbox-relay %s: %v\n\n", c.flags.Name(), err)
		c.printUsage(stderr)
		return 2, true
	}
	if c.config, err = load(env); err != nil {
		fmt.Fprintln(stderr, "outbox-relay:", err)
		return 2, true
	}
	return 0, false
}

func (c *tableCommand) printUsage(w io.Writer) {
	fmt.Fprint(w, c.usage)
	c.flags.SetOutput(w)
	c.flags.PrintDefaults()
}

func (c *tableCommand) options() schema.Options {
	return schema.Options{Table: c.config.Table, PayloadType: c.payload, Publication: string(c.config.Publication)}
}

func (c *tableCommand) roleOptions() schema.RoleOptions {
	return schema.RoleOptions{
		Table:  c.config.Table,
		Role:   c.role,
		Delete: c.config.AfterSend == config.DeleteSent,
	}
}
