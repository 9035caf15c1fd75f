package e2e_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// badRows can never be published. Each says why in last_error, stops nobody, and
// is not in the ledger: the oracle takes it for a ghost if it arrives.
var badRows = []struct {
	name      string
	topic     string
	key       string
	headers   string
	payload   string // SQL expression
	lastError string // regular expression, case ignored
}{
	{name: "headers are an array", headers: `["a"]`, lastError: `headers.*object`},
	{name: "headers are a string", headers: `"a"`, lastError: `headers.*object`},
	{name: "reserved status", headers: `{"status": "404"}`, lastError: `header.*status`},
	{name: "header value is a number", headers: `{"a": 1}`, lastError: `header.*string`},
	{name: "header value is null", headers: `{"a": null}`, lastError: `header.*string`},
	{name: "header value is an object", headers: `{"a": {"b": "c"}}`, lastError: `header.*string`},
	{name: "reserved header", headers: `{"Nats-Msg-Id": "mine"}`, lastError: `header.*Nats-Msg-Id`},
	{name: "reserved header in lower case", headers: `{"nats-expected-stream": "x"}`, lastError: `header.*nats-expected-stream`},
	{name: "reserved header of the relay", headers: `{"outbox-key": "mine"}`, lastError: `header.*outbox-key`},
	{name: "line break in a header name", headers: `{"a\nb": "c"}`, lastError: `header`},
	{name: "line break in a header value", headers: `{"a": "b\r\nNats-Msg-Id: x"}`, lastError: `header`},
	{name: "colon in a header name", headers: `{"a: b": "c"}`, lastError: `header`},
	{name: "empty header name", headers: `{"": "c"}`, lastError: `header`},
	{name: "line break in the key", key: "a\r\nb", lastError: `key`},
	{name: "empty topic", topic: "-", lastError: `topic|subject`},
	{name: "wildcard", topic: "oracle.*", lastError: `topic|subject`},
	{name: "full wildcard", topic: "oracle.>", lastError: `topic|subject`},
	{name: "empty token", topic: "oracle..a", lastError: `topic|subject`},
	{name: "trailing dot", topic: "oracle.a.", lastError: `topic|subject`},
	{name: "space", topic: "oracle.a b", lastError: `topic|subject`},
	{name: "line break in the topic", topic: "oracle.a\r\nPUB x 0", lastError: `topic|subject`},
	{name: "system subject", topic: "$JS.API.STREAM.DELETE.ORACLE", lastError: `topic|subject`},
	{name: "too large", payload: `to_json(repeat('x', 1100000))`, lastError: `large|bytes|limit`},
	{name: "header too large", headers: `{"a": "` + strings.Repeat("x", 1100000) + `"}`, lastError: `large|bytes|limit`},
}

func TestBadRowsDieAloneAndSayWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ids := make([]int64, len(badRows))
	for i, bad := range badRows {
		topic, headers, payload := bad.topic, bad.headers, bad.payload
		switch topic {
		case "":
			topic = "oracle.bad"
		case "-":
			topic = ""
		}
		if headers == "" {
			headers = "{}"
		}
		if payload == "" {
			payload = "'{}'"
		}
		key := "bad " + bad.name + bad.key
		w.row(`INSERT INTO {outbox} (topic, key, headers, payload) VALUES ($1, $2, $3, `+payload+`) RETURNING id`,
			[]any{topic, key, headers}, &ids[i])
		// A dead row does not hold its key back.
		next := plain(i)
		next.Key, next.Keyed = key, true
		if bad.key == "" {
			w.insert(next)
		}
	}
	load := w.load(oracle.Load{Rows: 500, Seed: 50})
	relay := w.relay()
	w.finish(load)
	w.awaitDrained()
	relay.Terminate()
	for i, bad := range badRows {
		var dead bool
		var lastError string
		w.row(`SELECT dead_at IS NOT NULL, coalesce(last_error, '') FROM {outbox} WHERE id = $1`, []any{ids[i]}, &dead, &lastError)
		if !dead {
			t.Errorf("%s: the row is not dead", bad.name)
		}
		if !regexp.MustCompile("(?is)" + bad.lastError).MatchString(lastError) {
			t.Errorf("%s: last_error = %q, want a match of %q", bad.name, lastError, bad.lastError)
		}
		if len(lastError) > 2000 {
			t.Errorf("%s: last_error has %d bytes", bad.name, len(lastError))
		}
	}
	if log := relay.Log(); strings.Contains(log, "xxxxxxxxxxxxxxxx") {
		t.Error("the log contains a payload")
	}
	w.verdict(oracle.Limits{})
}

// A trace context that is none changes nothing about the delivery.
func TestMalformedTraceparentIsDeliveredAndNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	content := plain(1)
	content.Headers = map[string]string{"traceparent": "00-nonsense"}
	row := w.insert(content)
	relay := w.relay()
	w.awaitDrained()
	relay.Terminate()
	var note string
	w.row(`SELECT coalesce(last_error, '') FROM {outbox} WHERE id = $1`, []any{row.ID}, &note)
	if !strings.Contains(note, "traceparent") {
		t.Errorf("last_error = %q, want a note about the traceparent", note)
	}
	w.verdict(oracle.Limits{})
}

// setupFault is something that a person has to fix, with what the log must say.
// The relay goes on by itself once it is fixed.
type setupFault struct {
	name       string
	spoil, fix string
	log        []string
}

var setupFaults = []setupFault{
	{
		"column missing", `ALTER TABLE {outbox} RENAME COLUMN headers TO hdrs`,
		`ALTER TABLE {outbox} RENAME COLUMN hdrs TO headers`,
		[]string{"headers", "missing"},
	},
	{
		"column mistyped", `ALTER TABLE {outbox} ALTER COLUMN last_error TYPE varchar(100)`,
		`ALTER TABLE {outbox} ALTER COLUMN last_error TYPE text`,
		[]string{"last_error", "character varying", "text"},
	},
	{
		"no privilege to write", `REVOKE UPDATE (sent_at) ON {outbox} FROM {role}`,
		`GRANT UPDATE (sent_at) ON {outbox} TO {role}`,
		[]string{"GRANT", "UPDATE"},
	},
	{
		"no privilege to read", `REVOKE SELECT ON {outbox} FROM {role}`,
		`GRANT SELECT ON {outbox} TO {role}`,
		[]string{"GRANT", "SELECT"},
	},
	{
		"row-level security", `ALTER TABLE {outbox} ENABLE ROW LEVEL SECURITY`,
		`ALTER TABLE {outbox} DISABLE ROW LEVEL SECURITY`,
		[]string{"row"},
	},
}

func TestSetupFaultsAreNamedWithTheirFix(t *testing.T) {
	t.Parallel()
	for _, fault := range setupFaults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			role := strings.NewReplacer("{role}", w.role)
			w.exec(role.Replace(fault.spoil))
			relay := w.relay()
			relay.AwaitLog(append([]string{`"level":"WARN"`}, fault.log...)...)
			w.exec(role.Replace(fault.fix))
			w.insert(plain(1))
			w.awaitDrained()
			relay.Terminate()
			w.verdict(oracle.Limits{})
		})
	}
}

func TestMissingTableNamesTheMigration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{unmigrate: true})
	w.exec(`CREATE ROLE ` + w.role + ` LOGIN`)
	relay := w.relay()
	relay.AwaitLog(`"level":"WARN"`, "public.outbox", "outbox-relay migrate")
	w.migrate()
	w.insert(plain(1))
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// A payload of 300 MB is over any limit: its row is dead without having been
// read, and the relay's memory never held it.
func TestHugePayloadIsNeverFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.exec(`INSERT INTO {outbox} (topic, payload) VALUES ('oracle.huge', ('"' || repeat('x', 300000000) || '"')::json)`)
	w.insert(plain(1))
	relay := w.relayOf(relaybin.Released)
	w.awaitFor(2*time.Minute, "all rows are settled", func() bool { return w.pending() == 0 })
	memory := relay.PeakMemory() >> 20
	relay.Terminate()
	// How long it is nobody knows who has not decompressed it.
	if dead := w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL AND last_error LIKE '%1048576%too large%'`); dead != 1 {
		t.Errorf("%d dead rows name the limit of 1048576 bytes, want 1; %s", dead, w.state())
	}
	t.Logf("VmHWM %d MiB", memory)
	if memory > 100 {
		t.Errorf("the relay used %d MiB, want below 100", memory)
	}
	w.verdict(oracle.Limits{})
}
