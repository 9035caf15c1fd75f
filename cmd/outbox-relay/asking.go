package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

// askingCommand is what "health", "status" and "doctor" have in common: they ask
// others, for a limited time, and take no arguments but flags.
type askingCommand struct {
	flags   *flag.FlagSet
	usage   string
	timeout time.Duration
}

func newAskingCommand(name, usage string, timeout time.Duration) *askingCommand {
	c := &askingCommand{flags: flag.NewFlagSet(name, flag.ContinueOnError), usage: usage}
	c.flags.SetOutput(io.Discard) // parse prints, each thing where it belongs
	c.flags.DurationVar(&c.timeout, "timeout", timeout, "give up after this long")
	return c
}

// parse reads the flags and the environment. done says that the command ends
// here with status.
func (c *askingCommand) parse(load loader, env, args []string, stdout, stderr io.Writer) (conf config.Config, status int, done bool) {
	err := c.flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		c.printUsage(stdout)
		return conf, 0, true
	}
	if err == nil && c.flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", strings.Join(c.flags.Args(), " "))
	}
	if err != nil {
		fmt.Fprintf(stderr, "outbox-relay %s: %v\n\n", c.flags.Name(), err)
		c.printUsage(stderr)
		return conf, 2, true
	}
	if conf, err = load(env); err != nil {
		fmt.Fprintln(stderr, "outbox-relay:", err)
		return conf, 2, true
	}
	return conf, 0, false
}

func (c *askingCommand) printUsage(w io.Writer) {
	fmt.Fprint(w, c.usage)
	c.flags.SetOutput(w)
	c.flags.PrintDefaults()
}
