package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// shell is one for which completion can be printed.
type shell struct {
	name  string
	write func(root *cobra.Command, w io.Writer) error
}

func shells() []shell {
	return []shell{
		{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
		{"zsh", (*cobra.Command).GenZshCompletion},
		{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
		{"powershell", (*cobra.Command).GenPowerShellCompletionWithDesc},
	}
}

func shellNames() []string {
	var names []string
	for _, s := range shells() {
		names = append(names, s.name)
	}
	return names
}

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "print a script that completes commands and flags in a shell",
		Long: `Prints a script for the shell named, which then completes commands and flags.

  bash        source <(outbox-relay completion bash)    # needs the package bash-completion
  zsh         source <(outbox-relay completion zsh)     # after compinit
  fish        outbox-relay completion fish | source
  powershell  outbox-relay completion powershell | Out-String | Invoke-Expression

Put the line into the shell's startup file to have it in every session.`,
		ValidArgs: shellNames(),
		Args:      oneShell,
		RunE: func(cmd *cobra.Command, args []string) error {
			i := slices.Index(shellNames(), args[0])
			return shells()[i].write(cmd.Root(), cmd.OutOrStdout())
		},
	}
}

func oneShell(_ *cobra.Command, args []string) error {
	there := "there are: " + strings.Join(shellNames(), ", ")
	switch {
	case len(args) == 0:
		return fmt.Errorf("the shell's name is missing; %s", there)
	case !slices.Contains(shellNames(), args[0]):
		return fmt.Errorf("there is no completion for %q; %s", args[0], there)
	case len(args) > 1:
		return fmt.Errorf("unexpected argument %q", strings.Join(args[1:], " "))
	}
	return nil
}
