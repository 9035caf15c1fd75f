package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/schema"
)

// addTimeout gives a command the flag --timeout.
func addTimeout(cmd *cobra.Command, timeout time.Duration, meaning string) *time.Duration {
	value := cmd.Flags().Duration("timeout", timeout, meaning)
	completeWith(cmd, "timeout")
	return value
}

// tableFlags are those of "migrate" and "schema".
type tableFlags struct {
	payload payloadType
	role    roleName
}

func addTableFlags(cmd *cobra.Command) *tableFlags {
	f := &tableFlags{}
	cmd.Flags().Var(&f.payload, "payload-type", "`type` of the payload column: json (default), jsonb, text or bytea")
	cmd.Flags().Var(&f.role, "role", "also create a role of this `name` with the least privileges the relay needs, in SQL identifier syntax")
	completeWith(cmd, "payload-type", "json", "jsonb", "text", "bytea")
	completeWith(cmd, "role")
	return f
}

// completeWith says which values a shell offers for a flag; no files in any case.
func completeWith(cmd *cobra.Command, flag string, values ...cobra.Completion) {
	offer := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // there is no such flag, or it was done twice
	}
}

func (f *tableFlags) options(c config.Config) schema.Options {
	return schema.Options{Table: c.Table, PayloadType: f.payload.PayloadType, Publication: string(c.Publication), Environment: string(c.Environment)}
}

func (f *tableFlags) roleOptions(c config.Config) schema.RoleOptions {
	return schema.RoleOptions{Table: c.Table, Role: f.role.name, Delete: c.AfterSend == config.DeleteSent || c.Retention > 0}
}

// payloadType is the value of --payload-type.
type payloadType struct{ schema.PayloadType }

func (p *payloadType) Set(s string) (err error) {
	p.PayloadType, err = schema.ParsePayloadType(s)
	return err
}

func (p *payloadType) String() string { return string(p.PayloadType) }
func (p *payloadType) Type() string   { return "type" }

// roleName is the value of --role.
type roleName struct{ name string }

func (r *roleName) Set(s string) (err error) {
	r.name, err = schema.ParseIdentifier(s)
	return err
}

func (r *roleName) String() string { return r.name }
func (r *roleName) Type() string   { return "name" }
