package e2e_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// What is planted, and must not come out.
const (
	payloadSecret = "planted-in-a-payload"
	headerSecret  = "planted-in-a-header"
	shownTenant   = "tenant-that-may-be-seen"
	plantedTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
)

// plantSecrets inserts rows that the relay has to log something about, each with secrets
// in its payload and in its headers. The table, the broker and an application's trigger
// complain of them.
func (w *world) plantSecrets() {
	w.t.Helper()
	headers := func(more string) string {
		return `{"Authorization": "` + headerSecret + `", "x-session-token": "` + headerSecret + `", "tenant": "` + shownTenant + `",
			"traceparent": "00-` + plantedTrace + `-00f067aa0ba902b7-01"` + more + `}`
	}
	for topic, h := range map[string]string{
		"lost.orders":      headers(""), // no stream and no queue has it
		"oracle.marked":    headers(""), // its mark succeeds, and the trigger says something
		"oracle.unmarked":  headers(""), // its mark fails
		"oracle.defect":    `{"password": {"is": "` + headerSecret + `"}}`,
		"oracle.control":   headers(`, "cookie": "` + headerSecret + `\r\n"`),
		"oracle.malformed": `{"traceparent": "00-` + headerSecret + `"}`,
	} {
		w.exec(`INSERT INTO {outbox} (topic, headers, payload) VALUES ($1, $2, $3)`, topic, h, `{"card": "`+payloadSecret+`"}`)
	}
	w.exec(`INSERT INTO {outbox} (topic, headers, payload) VALUES ('oracle.large', $1, to_json(repeat($2, 1000)))`, headers(""), payloadSecret)
	// The failing row is in the error's details.
	w.exec(`ALTER TABLE {outbox} ADD CONSTRAINT unmarked CHECK (topic <> 'oracle.unmarked') NOT VALID`)
	w.exec(`CREATE FUNCTION chatter() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'marked: %', NEW; RETURN NEW; END $$`)
	w.exec(`CREATE TRIGGER chatter BEFORE UPDATE ON {outbox} FOR EACH ROW EXECUTE FUNCTION chatter()`)
	w.exec(`ALTER ROLE ` + sqltext.Identifier(w.role) + ` SET client_min_messages = debug1`)
}

// Neither a payload nor the value of a header that is a secret by its name is ever logged,
// whatever goes wrong and at whatever level. Other values are, at level debug alone. Lines
// about one message have the id of its trace.
func TestLogHasNoPayloadAndNoSecretOfAHeader(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, w *deadWorld) {
		for _, level := range []string{"debug", "info"} {
			w.exec(`TRUNCATE {outbox}`)
			w.exec(`DROP TRIGGER IF EXISTS chatter ON {outbox}; DROP FUNCTION IF EXISTS chatter(); ALTER TABLE {outbox} DROP CONSTRAINT IF EXISTS unmarked`)
			w.plantSecrets()
			relay := w.relay("OUTBOX_LOG_LEVEL", level, "OUTBOX_MAX_MESSAGE_BYTES", "10KiB")
			w.await("all has been tried", func() bool {
				s := w.status(relay)
				return s.UnmarkableRows == 1 && s.DeadTotal == 3 && s.RefusedTotal > 3
			})
			w.await("it is logged", func() bool {
				return relay.CountLog("row cannot be marked", `"trace_id":"`+plantedTrace) > 0 && relay.CountLog("message refused") > 0 && relay.CountLog("message dead") > 0
			})
			if level == "debug" {
				w.await("the notices and the headers are logged", func() bool {
					return relay.CountLog("notice from PostgreSQL", "chatter()") > 0 &&
						relay.CountLog("message not acknowledged", "lost.orders", `"trace_id":"`+plantedTrace, shownTenant, `"Authorization":"…"`) > 0
				})
			}
			relay.Signal(syscall.SIGTERM)
			relay.Wait(patience) // it says that a row without a mark will be sent again
			log := relay.Log()
			for _, secret := range []string{payloadSecret, headerSecret} {
				if i := strings.Index(log, secret); i >= 0 {
					t.Errorf("at level %s the log has %s: …%s", level, secret, log[max(0, i-400):min(len(log), i+100)])
				}
			}
			if shown := strings.Contains(log, shownTenant); shown != (level == "debug") {
				t.Errorf("at level %s a value of a header is shown: %v", level, shown)
			}
		}
	})
}
