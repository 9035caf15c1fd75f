package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/schema"
)

const schemaHelp = `Prints the SQL that "outbox-relay migrate" runs, for the application's own
migration tool. It reads OUTBOX_TABLE and OUTBOX_PUBLICATION, and needs no database.

Where the table has many rows already, that SQL builds no new indexes: "outbox-relay
schema --indexes" prints the statements for them, which must run outside of any
transaction.

With --uninstall it prints the SQL that takes all of it back, but for the table and its
rows, which go only with --drop-table, and only if all of them are sent. Run it as the
table's owner, when no relay of the table runs any more.

With --inbox it prints another table instead, for the database of a consumer: the ids of
the messages that it has processed, by which it knows a copy.`

func newSchemaCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "schema", Short: "print the SQL of migrate, or that of a consumer's inbox", Long: schemaHelp,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := addTableFlags(cmd)
	indexes := cmd.Flags().Bool("indexes", false, "print only the statements that build the indexes of a table with many rows")
	uninstall := cmd.Flags().Bool("uninstall", false, "print the SQL that takes back what migrate has made")
	dropTable := cmd.Flags().Bool("drop-table", false, "with --uninstall: the table too, if all of its rows are sent")
	inbox := addInboxFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := inbox.check(cmd); err != nil {
			return err
		}
		if inbox.wanted {
			_, err := io.WriteString(cmd.OutOrStdout(), schema.InboxSQL(schema.Table(inbox.table)))
			return err
		}
		c, err := loadConfig(cmd, config.LoadNames, env)
		if err != nil {
			return err
		}
		if *dropTable && !*uninstall {
			return errors.New("--drop-table is for --uninstall")
		}
		if *uninstall {
			_, err = io.WriteString(cmd.OutOrStdout(), schema.UninstallSQL(flags.options(c), *dropTable))
			return err
		}
		if *indexes {
			_, err = io.WriteString(cmd.OutOrStdout(), schema.IndexSQL(c.Table))
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

// inboxFlags ask for the table of a consumer.
type inboxFlags struct {
	wanted bool
	table  inboxName
}

func addInboxFlags(cmd *cobra.Command) *inboxFlags {
	f := &inboxFlags{table: inboxName(schema.DefaultInbox)}
	cmd.Flags().BoolVar(&f.wanted, "inbox", false, "print an inbox instead, for the database of a consumer")
	cmd.Flags().Var(&f.table, "name", "with --inbox: the table's `name`, in SQL identifier syntax")
	completeWith(cmd, "name")
	return f
}

// check refuses flags of the other table.
func (f *inboxFlags) check(cmd *cobra.Command) error {
	if !f.wanted && cmd.Flags().Changed("name") {
		return fmt.Errorf("--name is for --inbox; OUTBOX_TABLE names the outbox table")
	}
	for _, other := range []string{"payload-type", "role", "indexes", "uninstall", "drop-table"} {
		if f.wanted && cmd.Flags().Changed(other) {
			return fmt.Errorf("--%s is for the outbox table, and --inbox prints another one: leave one of them out", other)
		}
	}
	return nil
}

// inboxName is the value of --name.
type inboxName schema.Table

func (n *inboxName) Set(s string) error {
	table, err := schema.ParseInbox(s)
	*n = inboxName(table)
	return err
}

func (n *inboxName) String() string { return schema.Table(*n).String() }
func (n *inboxName) Type() string   { return "name" }
