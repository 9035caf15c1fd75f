package main

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/schema"
)

// result is what a command did.
type result struct {
	status         int
	stdout, stderr string
}

func TestSchemaPrintsTheMigrationWithoutDatabaseOrBroker(t *testing.T) {
	var stdout, stderr strings.Builder
	env := []string{`OUTBOX_TABLE="Shop".outbox`, "OUTBOX_PUBLICATION=mine"}
	status := runSchema(t.Context(), env, []string{"--payload-type", "text"}, &stdout, &stderr)
	table, err := schema.ParseTable(`"Shop".outbox`)
	if err != nil {
		t.Fatal(err)
	}
	want := schema.SQL(schema.Options{Table: table, PayloadType: schema.PayloadText, Publication: "mine"})
	if status != 0 || stdout.String() != want || stderr.Len() != 0 {
		t.Errorf("status %d, stderr %q, the migration as printed by the package: %v", status, stderr.String(), stdout.String() == want)
	}
}

func TestSchemaPrintsTheRoleWithIt(t *testing.T) {
	for env, mayDelete := range map[string]bool{"OUTBOX_AFTER_SEND=mark": false, "OUTBOX_AFTER_SEND=delete": true} {
		var stdout, stderr strings.Builder
		status := runSchema(t.Context(), []string{env}, []string{"--role", `"The Relay"`}, &stdout, &stderr)
		table := schema.Table{Schema: "public", Name: "outbox"}
		want := schema.SQL(schema.Options{Table: table}) + "\n" +
			schema.RoleSQL(schema.RoleOptions{Table: table, Role: "The Relay", Delete: mayDelete})
		if status != 0 || stdout.String() != want {
			t.Errorf("%s: status %d, stderr %q, the two scripts as printed by the package: %v",
				env, status, stderr.String(), stdout.String() == want)
		}
	}
}

func TestTableCommandsRefuseWrongUsage(t *testing.T) {
	for name, command := range map[string]func([]string, []string) result{
		"schema": func(env, args []string) result {
			var stdout, stderr strings.Builder
			status := runSchema(t.Context(), env, args, &stdout, &stderr)
			return result{status, stdout.String(), stderr.String()}
		},
		"migrate": func(env, args []string) result {
			var stdout, stderr strings.Builder
			status := runMigrate(t.Context(), append(env, "OUTBOX_DATABASE_URL=postgres://127.0.0.1:1/x"), args, &stdout, &stderr)
			return result{status, stdout.String(), stderr.String()}
		},
	} {
		for _, c := range []struct{ env, args, want string }{
			{"", "--payload-type xml", `invalid value "xml" for flag -payload-type: payload type "xml" is unknown: choose json, jsonb, text or bytea`},
			{"", "--role a-b", `cannot stand there in a name without quotes`},
			{"", "--colour red", "flag provided but not defined: -colour"},
			{"", "public.outbox", `unexpected argument "public.outbox"`},
			{"OUTBOX_TABLE=my-outbox", "", "OUTBOX_TABLE=my-outbox: "},
			{"OUTBOX_TABEL=outbox", "", "did you mean OUTBOX_TABLE?"},
		} {
			var env []string
			if c.env != "" {
				env = []string{c.env}
			}
			got := command(env, strings.Fields(c.args))
			if got.status != 2 || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
				t.Errorf("%s %s with %q: status %d, stdout %q, stderr %q, want 2 and %q", name, c.args, c.env, got.status, got.stdout, got.stderr, c.want)
			}
		}
		help := command(nil, []string{"--help"})
		if help.status != 0 || !strings.HasPrefix(help.stdout, "Usage: outbox-relay "+name) || !strings.Contains(help.stdout, "-payload-type type") {
			t.Errorf("%s --help: status %d, stdout %q", name, help.status, help.stdout)
		}
	}
}
