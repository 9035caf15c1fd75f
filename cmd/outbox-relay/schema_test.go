package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/schema"
)

func TestSchemaPrintsTheMigrationWithoutDatabaseOrBroker(t *testing.T) {
	env := []string{`OUTBOX_TABLE="Shop".outbox`, "OUTBOX_PUBLICATION=mine"}
	got := do(t, env, "schema", "--payload-type", "text")
	table, err := schema.ParseTable(`"Shop".outbox`)
	if err != nil {
		t.Fatal(err)
	}
	want := schema.SQL(schema.Options{Table: table, PayloadType: schema.PayloadText, Publication: "mine"})
	if got.status != 0 || got.stdout != want || got.stderr != "" {
		t.Errorf("status %d, stderr %q, the migration as printed by the package: %v", got.status, got.stderr, got.stdout == want)
	}
}

func TestSchemaPrintsTheRoleWithIt(t *testing.T) {
	for env, mayDelete := range map[string]bool{
		"OUTBOX_AFTER_SEND=mark": true, // for the retention
		"OUTBOX_RETENTION=0":     false, "OUTBOX_AFTER_SEND=delete OUTBOX_RETENTION=0": true,
	} {
		got := do(t, strings.Fields(env), "schema", "--role", `"The Relay"`)
		table := schema.Table{Schema: "public", Name: "outbox"}
		want := schema.SQL(schema.Options{Table: table}) + "\n" +
			schema.RoleSQL(schema.RoleOptions{Table: table, Role: "The Relay", Delete: mayDelete})
		if got.status != 0 || got.stdout != want {
			t.Errorf("%s: status %d, stderr %q, the two scripts as printed by the package: %v",
				env, got.status, got.stderr, got.stdout == want)
		}
	}
}

func TestSchemaPrintsHowToUninstall(t *testing.T) {
	o := schema.Options{Table: schema.Table{Schema: "public", Name: "outbox"}}
	for args, want := range map[string]string{"": schema.UninstallSQL(o, false), " --drop-table": schema.UninstallSQL(o, true)} {
		got := do(t, nil, strings.Fields("schema --uninstall"+args)...)
		if got.status != 0 || got.stdout != want || got.stderr != "" {
			t.Errorf("--uninstall%s: status %d, stderr %q, the script as printed by the package: %v", args, got.status, got.stderr, got.stdout == want)
		}
	}
	if got := do(t, nil, "schema", "--drop-table"); got.status != 2 || !strings.Contains(got.stderr, "--drop-table is for --uninstall") {
		t.Errorf("--drop-table alone: %+v", got)
	}
}

func TestSchemaPrintsTheInboxOfAConsumer(t *testing.T) {
	for args, table := range map[string]schema.Table{
		"":                     {Schema: "public", Name: "processed_messages"},
		` --name "Bill".inbox`: {Schema: "Bill", Name: "inbox"},
	} {
		got := do(t, []string{"OUTBOX_TABLE=no-name"}, strings.Fields("schema --inbox"+args)...)
		if got.status != 0 || got.stdout != schema.InboxSQL(table) || got.stderr != "" {
			t.Errorf("--inbox%s: status %d, stderr %q, the script as printed by the package: %v", args, got.status, got.stderr, got.stdout == schema.InboxSQL(table))
		}
	}
	for args, want := range map[string]string{
		"--name x":           "--name is for --inbox; OUTBOX_TABLE names the outbox table",
		"--inbox --role x":   "--role is for the outbox table, and --inbox prints another one: leave one of them out",
		"--inbox --name a-b": `"a-b" is not a table name: '-' cannot stand there in a name without quotes`,
	} {
		got := do(t, nil, append([]string{"schema"}, strings.Fields(args)...)...)
		if got.status != 2 || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%s: %+v, want status 2 and %q", args, got, want)
		}
	}
}

func TestTableCommandsRefuseWrongUsage(t *testing.T) {
	const nowhere = "OUTBOX_DATABASE_URL=postgres://127.0.0.1:1/x"
	for name, database := range map[string][]string{"schema": nil, "migrate": {nowhere}} {
		for _, c := range []struct{ env, args, want string }{
			{"", "--payload-type xml", `invalid argument "xml" for "--payload-type" flag: payload type "xml" is unknown: choose json, jsonb, text or bytea`},
			{"", "--role a-b", `cannot stand there in a name without quotes`},
			{"", "--colour red", "unknown flag: --colour; there are: --"},
			{"", "public.outbox", `unexpected argument "public.outbox"`},
			{"OUTBOX_TABLE=my-outbox", "", "OUTBOX_TABLE=my-outbox: "},
			{"OUTBOX_TABEL=outbox", "", "did you mean OUTBOX_TABLE?"},
		} {
			env := slices.Clone(database)
			if c.env != "" {
				env = append(env, c.env)
			}
			got := do(t, env, append([]string{name}, strings.Fields(c.args)...)...)
			if got.status != 2 || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
				t.Errorf("%s %s with %q: status %d, stdout %q, stderr %q, want 2 and %q", name, c.args, c.env, got.status, got.stdout, got.stderr, c.want)
			}
		}
		help := do(t, nil, name, "--help")
		if help.status != 0 || !strings.HasPrefix(help.stdout, "Usage: outbox-relay "+name) || !strings.Contains(help.stdout, "-payload-type type") {
			t.Errorf("%s --help: status %d, stdout %q", name, help.status, help.stdout)
		}
	}
}

func TestSchemaPrintsTheIndexesOfALargeTable(t *testing.T) {
	got := do(t, []string{`OUTBOX_TABLE="Shop".outbox`}, "schema", "--indexes")
	if got.status != 0 || got.stdout != schema.IndexSQL(schema.Table{Schema: "Shop", Name: "outbox"}) ||
		!strings.Contains(got.stdout, "\nCREATE INDEX CONCURRENTLY IF NOT EXISTS \"outbox_due_idx\" ON \"Shop\".\"outbox\" (id) WHERE ") {
		t.Errorf("%+v", got)
	}
}
