package main

import (
	"strings"
	"testing"
)

// send runs the command with a standard input.
func send(t *testing.T, env []string, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	root := newRoot(env)
	root.SetArgs(append([]string{"send"}, args...))
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	status := 0
	if err := root.ExecuteContext(t.Context()); err != nil {
		status = 1
	}
	return result{status, stdout.String(), stderr.String()}
}

func TestSendInsertsRowsAsARoleThatMayOnlyInsert(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	shop := p.role + "_shop"
	p.sql("CREATE ROLE "+shop+" LOGIN", "GRANT INSERT ON outbox TO "+shop)
	defer p.sql("DROP OWNED BY "+shop, "DROP ROLE "+shop)
	env := []string{"OUTBOX_DATABASE_URL=" + p.server.URLAs(shop, "", p.value("SELECT current_database()")), "OUTBOX_SINK_URL=kafka://x"}

	first := send(t, env, "", "orders.created", `{"total": 9.90}`, "--key", "42", "--header", "a=b=c", "--header", "d=", "--available-at", "2030-01-31")
	second := send(t, env, `{"from": "stdin"}`, "orders.created", "--available-at", "1h", "--content-type", "text/x", "--json", "--count", "501")
	if first.status != 0 || second.status != 0 || strings.Count(second.stdout, "\n") != 501 {
		t.Fatalf("%+v\n%+v", first, second)
	}
	const one = `SELECT concat_ws('|', message_id, topic, key, payload, headers, content_type, (available_at AT TIME ZONE 'UTC')::date) FROM outbox WHERE id = 1`
	want := strings.TrimSpace(first.stdout) + `|orders.created|42|{"total": 9.90}|{"a": "b=c", "d": ""}|application/json|2030-01-31`
	if got := p.value(one); got != want {
		t.Errorf("the row is\n%s\nwant\n%s", got, want)
	}
	const rest = `SELECT count(*)::text FROM outbox WHERE id > 1 AND key IS NULL AND payload::text = '{"from": "stdin"}' AND content_type = 'text/x'
		AND available_at - now() BETWEEN interval '50 min' AND interval '1 h' AND position(format('{"message_id":"%s"}', message_id) in '`
	if got := p.value(rest + second.stdout + `') > 0`); got != "501" {
		t.Errorf("%s rows are as asked for, want 501", got)
	}
	if got := p.value("SELECT count(DISTINCT message_id)::text FROM outbox"); got != "502" {
		t.Errorf("%s message ids, want 502", got)
	}

	for _, c := range []struct {
		env  []string
		args string
		want string
	}{
		{env, "topic no-json", "text has to be JSON text, in double quotes"},
		{env, "topic", "there is no payload: give it as the second argument, or on the standard input"},
		{[]string{"OUTBOX_DATABASE_URL=" + p.env["OUTBOX_DATABASE_URL"]}, "topic 1", `GRANT INSERT ON "public"."outbox" TO "` + p.role + `"`},
		{append([]string{"OUTBOX_TABLE=nowhere"}, env...), "topic 1", "table public.nowhere does not exist: run outbox-relay migrate"},
	} {
		if got := send(t, c.env, "", strings.Fields(c.args)...); got.status == 0 || got.stdout != "" || !strings.Contains(got.stderr, c.want) {
			t.Errorf("%s: %+v, want %q", c.args, got, c.want)
		}
	}
	if got := p.value("SELECT count(*)::text FROM outbox"); got != "502" {
		t.Errorf("%s rows after failures, want 502", got)
	}
}

func TestSendAndWatchRefuseWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"send":                            "say to which topic",
		"send a b c":                      `unexpected argument "c": put the payload between quotes`,
		"send a b --count 0":              "--count 0: expected 1 to 100000",
		"send a b --header x":             `invalid argument "x" for "--header" flag: expected name=value`,
		"send a b --available-at morning": "expected a time such as 2030-01-31T12:00:00Z",
		"send a 1":                        "OUTBOX_DATABASE_URL: is required",
		"watch a b":                       `unexpected argument "b": put the pattern between quotes`,
		"watch --count=-1":                "--count -1: expected 0 or more",
		"watch --timeout=-1s":             "--timeout -1s: expected 0 or more",
		"watch":                           "OUTBOX_SINK_URL: is required",
	} {
		if got := do(t, nil, strings.Fields(args)...); got.status != 2 || got.stdout != "" || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v, want status 2 and %q", args, got, want)
		}
	}
}
