package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

func main() {
	ctx, stop := untilSignal(context.Background())
	status := dispatch(ctx, os.Environ(), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// exit is the error of a command that has printed what there is to say. The
// process ends with this status.
type exit int

const (
	failed  exit = 1
	misused exit = 2 // wrong usage or configuration
)

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// dispatch runs the command that the arguments name and returns the exit status.
func dispatch(ctx context.Context, env, args []string, stdout, stderr io.Writer) int {
	out := &output{Writer: stdout}
	root := newRoot(env)
	root.SetArgs(doubleDashes(args))
	root.SetOut(out)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)

	var status exit
	switch {
	case out.err != nil:
		fmt.Fprintf(stderr, "%s: print: %v\n", cmd.CommandPath(), out.err)
		status = failed
	case err != nil && !errors.As(err, &status): // what cobra and the Args functions refuse
		printMisuse(stderr, cmd, err)
		status = misused
	}
	return int(status)
}

// doubleDashes lets -flag stand for --flag. There is no one-letter flag but -h.
// It returns a list for any args: nil would stand for the process's own.
func doubleDashes(args []string) []string {
	list := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" || strings.HasPrefix(arg, "__complete") {
			return append(list, args[i:]...)
		}
		if len(arg) > 2 && arg[0] == '-' && unicode.IsLetter(rune(arg[1])) {
			arg = "-" + arg
		}
		list = append(list, arg)
	}
	return list
}

// output remembers the first write that failed: a command whose output is lost
// has failed, whatever it printed.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}
