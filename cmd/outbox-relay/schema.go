package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/schema"
)

const schemaHelp = `Prints the SQL that "outbox-relay migrate" runs, for the application's own
migration tool. It reads OUTBOX_TABLE and OUTBOX_PUBLICATION, and needs no database.`

func newSchemaCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "schema", Short: "print the SQL of migrate", Long: schemaHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := addTableFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd, config.LoadNames, env)
		if err != nil {
			return err
		}
		script := schema.SQL(flags.options(c))
		if flags.role.name != "" {
			script += "\n" + schema.RoleSQL(flags.roleOptions(c))
		}
		_, err = io.WriteString(cmd.OutOrStdout(), script)
		return err
	}
	return cmd
}
