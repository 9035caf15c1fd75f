package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
)

// commands makes all commands, in the order in which help shows them. They use only
// env, their arguments and their two streams.
func commands(env []string) []*cobra.Command {
	return []*cobra.Command{
		newRunCommand(env),
		newMigrateCommand(env),
		newSchemaCommand(env),
		newAdoptCommand(env),
		newPauseCommand(env),
		newResumeCommand(env),
		newDoctorCommand(env),
		newStatusCommand(env),
		newSendCommand(env),
		newWatchCommand(env),
		newDeadCommand(env),
		newHealthCommand(env),
		newVersionCommand(),
		newCompletionCommand(),
		newHelpCommand(),
	}
}

// newRoot puts the commands together. The program without a command runs the
// relay.
func newRoot(env []string) *cobra.Command {
	root := newRunCommand(env)
	root.Use = "outbox-relay"
	root.Version = version()
	root.SetVersionTemplate(versionLine())
	root.Flags().Bool("version", false, "print the version")
	root.Args = knownCommand
	root.ValidArgsFunction = nil // the commands complete it

	// dispatch prints: each thing once, and in the right place.
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(explainFlag)
	root.SetHelpFunc(printHelp)

	all := commands(env)
	root.AddCommand(all...)
	root.SetHelpCommand(all[len(all)-1])
	return root
}

// knownCommand refuses a word that names no command, which cobra takes for an argument
// of the program.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("there is no command %q; there are: %s", args[0], strings.Join(commandNames(), ", "))
}

func commandNames() []string {
	var names []string
	for _, c := range commands(nil) {
		names = append(names, c.Name())
	}
	return names
}

// noArguments is for commands that take only flags.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", strings.Join(args, " "))
	}
	return nil
}

// explainFlag adds to the error of an unknown flag which flags there are.
func explainFlag(cmd *cobra.Command, err error) error {
	if !cmd.HasParent() && cmd.Flags().NArg() > 0 {
		return knownCommand(cmd, cmd.Flags().Args()) // the flag follows an unknown command
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
	there := strings.Join(known, ", ")
	if !cmd.HasParent() {
		there += ", and the commands " + strings.Join(commandNames(), ", ")
	}
	return fmt.Errorf("%w; there are: %s", err, there)
}

// printMisuse prints what is wrong with the command line, and the command's usage.
func printMisuse(w io.Writer, cmd *cobra.Command, err error) {
	fmt.Fprintf(w, "%s: %v\n", cmd.CommandPath(), err)
	if cmd.HasParent() {
		fmt.Fprintf(w, "\n%s", usage(cmd))
	}
}

// fail prints why a command failed.
func fail(cmd *cobra.Command, err error) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", cmd.CommandPath(), lines(err))
	return failed
}

// lines is the text of an error, which may quote what others wrote. Its line breaks
// stay: some errors are lists.
func lines(err error) string {
	var all []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		all = append(all, relay.OneLine(line))
	}
	return strings.Join(all, "\n")
}

// loader is one of the config package's Load functions, which require different
// variables.
type loader func(environ []string) (config.Config, error)

// loadConfig prints what is wrong with the environment.
func loadConfig(cmd *cobra.Command, load loader, env []string) (config.Config, error) {
	c, err := load(env)
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "outbox-relay:", lines(err))
		return c, misused
	}
	return c, nil
}
