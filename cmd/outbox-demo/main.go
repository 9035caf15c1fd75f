package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	binary   string // of the relay
	clicks   int
	rate     int
	deadline time.Duration
	keep     bool
	sink     string
}

// The brokers to choose from.
const (
	sinkNATS     = "nats"
	sinkRabbitMQ = "rabbitmq"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program without its process: it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		return 2
	}
	p := newProgress(stdout, isTerminal(stdout))
	err = demonstrate(ctx, o, p)
	p.stop()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFalse):
		// The verdict has been printed, with its reasons.
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "demo: interrupted; nothing is left running")
	default:
		fmt.Fprintln(stderr, "demo failed:", err)
	}
	return 1
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("outbox-demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.binary, "relay", "", "`path` of the outbox-relay binary (default: built from this module)")
	flags.IntVar(&o.clicks, "clicks", 20_000, "clicks to write, at least 500")
	flags.IntVar(&o.rate, "rate", 900, "clicks written per second")
	flags.DurationVar(&o.deadline, "deadline", 3*time.Minute, "give up, and say what is missing, after this time")
	flags.BoolVar(&o.keep, "keep", false, "leave everything running at the end, until interrupted")
	flags.StringVar(&o.sink, "sink", sinkNATS, "the `broker`: nats or rabbitmq")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var fault string
	switch {
	case flags.NArg() > 0:
		fault = fmt.Sprintf("unexpected argument %q: there are only flags", flags.Arg(0))
	case o.clicks < 500:
		fault = fmt.Sprintf("-clicks %d is too small for faults in its midst: at least 500", o.clicks)
	case o.sink != sinkNATS && o.sink != sinkRabbitMQ:
		fault = fmt.Sprintf("-sink %s: expected %s or %s", o.sink, sinkNATS, sinkRabbitMQ)
	case o.rate < 1:
		fault = fmt.Sprintf("-rate %d: at least 1 click per second", o.rate)
	}
	if fault != "" {
		fmt.Fprintln(stderr, fault)
		return o, fmt.Errorf("parse flags: %s", fault)
	}
	return o, nil
}

// isTerminal says whether w can redraw a line.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
