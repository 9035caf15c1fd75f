package tail_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/tail"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

var outbox = schema.Table{Schema: "public", Name: "outbox"}

// insert inserts one row per topic, in one statement.
const insert = "INSERT INTO {t} (topic, payload) SELECT unnest(string_to_array($1, ' ')), '1'"

func TestCommittedRowsComeInTheOrderOfTheirCommits(t *testing.T) {
	f := setup(t)
	s := f.stream()
	a, b := f.other(), f.other()
	execOn(t, a, "BEGIN")
	execOn(t, a, f.sql(insert), "first")
	execOn(t, b, f.sql(insert), "second")
	execOn(t, a, "COMMIT")
	if got := topics(rows(t, s, 2)); got != "second first" {
		t.Errorf("rows %s", got)
	}
}

func TestWhatWasRolledBackDoesNotCome(t *testing.T) {
	f := setup(t)
	s := f.stream()
	f.exec("BEGIN")
	f.exec(insert, "undone")
	f.exec("ROLLBACK")
	f.exec("BEGIN")
	f.exec(insert, "a")
	f.exec("SAVEPOINT one")
	f.exec(insert, "undone")
	f.exec("ROLLBACK TO one")
	f.exec("SAVEPOINT two")
	f.exec(insert, "b")
	f.exec("RELEASE two")
	f.exec(insert, "c")
	f.exec("COMMIT")
	f.exec(insert, "end")
	if got := topics(rows(t, s, 4)); got != "a b c end" {
		t.Errorf("rows %s", got)
	}
}

func TestRowsOfOneStatementAndOfACopyComeTogether(t *testing.T) {
	f := setup(t)
	s := f.stream()
	f.exec(insert, "a b c")
	source := pgx.CopyFromRows([][]any{{"d", "4"}, {"e", "5"}})
	if _, err := f.admin.CopyFrom(t.Context(), pgx.Identifier{"outbox"}, []string{"topic", "payload"}, source); err != nil {
		t.Fatal(err)
	}
	found := rows(t, s, 5)
	if got := topics(found); got != "a b c d e" || found[0].XID != found[2].XID || found[3].XID != found[4].XID || found[0].XID == found[3].XID {
		t.Errorf("rows %s: %+v", got, found)
	}
}

func TestTransactionsThatCommitBetweenOpenAndStartCome(t *testing.T) {
	f := setup(t)
	f.exec(insert, "before")
	s := f.open()
	f.exec(insert, "between")
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := topics(rows(t, s, 1)); got != "between" {
		t.Errorf("rows %s", got)
	}
}

func TestSnapshotTellsWhichRowsOfTheStreamAPassSaw(t *testing.T) {
	f := setup(t)
	s := f.stream()
	early, late := f.other(), f.other()
	execOn(t, early, "BEGIN")
	execOn(t, early, f.sql(insert), "running")
	execOn(t, late, f.sql(insert), "seen")
	snapshot, err := wal.ParseSnapshot(f.value("SELECT pg_current_snapshot()"))
	if err != nil {
		t.Fatal(err)
	}
	execOn(t, early, "COMMIT")
	execOn(t, late, f.sql(insert), "later")
	for _, ev := range rows(t, s, 3) {
		if want := ev.Message.Topic == "seen"; snapshot.Sees(ev.XID) != want {
			t.Errorf("the row %q of transaction %d is seen in %s: %v", ev.Message.Topic, ev.XID, snapshot, !want)
		}
	}
}

func TestLargeRowComesWholeAndOneOverTheLimitIsNotKept(t *testing.T) {
	const large, limit = 20 << 20, 21 << 20
	f := setup(t)
	f.payload("text")
	f.options.MaxMessageBytes = func() int64 { return limit }
	s := f.stream()
	f.exec("BEGIN")
	f.exec(`INSERT INTO {t} (topic, payload) SELECT 'large', repeat('x', $1)`, large)
	f.exec(`INSERT INTO {t} (topic, payload) SELECT 'larger', repeat('x', $1 + 1)`, limit)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 'key', repeat('k', $1), '1'`, large)
	f.exec(insert, "end")
	f.exec("COMMIT")
	found := rows(t, s, 4)
	if m := found[0].Message; len(m.Payload) != large || m.Size < large || strings.Trim(string(m.Payload), "x") != "" || m.Defect != nil {
		t.Errorf("the payload has %d bytes, the message %d: %v", len(m.Payload), m.Size, m.Defect)
	}
	if m := found[1].Message; m.Payload != nil || m.Size > 10_000 || !errors.Is(m.Defect, relay.ErrTooLarge) {
		t.Errorf("over the limit: %d bytes, size %d, defect %v", len(m.Payload), m.Size, m.Defect)
	}
	if m := found[2].Message; m.Keyed || m.Size > 10_000 || !errors.Is(m.Defect, relay.ErrTooLarge) {
		t.Errorf("with a long key: size %d, defect %v", m.Size, m.Defect)
	}
	if m := found[3].Message; string(m.Payload) != "1" || m.Defect != nil {
		t.Errorf("after them: %+v", m)
	}
}

func TestRowsInsertedAsSentOrForLaterAreToldApart(t *testing.T) {
	f := setup(t)
	s := f.stream()
	f.exec(`INSERT INTO {t} (topic, payload, sent_at, dead_at, available_at) VALUES
		('sent', '1', now(), NULL, NULL), ('dead', '1', NULL, now(), NULL), ('later', '1', NULL, NULL, '2123-04-05 06:07:08.9+00'),
		('now', '1', NULL, NULL, now())`)
	for _, ev := range rows(t, s, 4) {
		topic := []string{"sent", "dead", "later", "now"}[ev.Message.ID-1]
		if ev.Pending == (topic == "sent" || topic == "dead") || ev.Due == (topic == "later") {
			t.Errorf("%s: pending %v, due %v", topic, ev.Pending, ev.Due)
		}
		if topic == "later" && !ev.AvailableAt.Equal(time.Date(2123, 4, 5, 6, 7, 8, 900_000_000, time.UTC)) {
			t.Errorf("available at %s", ev.AvailableAt)
		}
	}
}

func TestRowsOfPartitionsComeAsThoseOfTheTable(t *testing.T) {
	f := setupOn(t, pgtest.Server(t), pgtest.Database(t), schema.Options{Table: outbox},
		`CREATE TABLE outbox (id bigint GENERATED BY DEFAULT AS IDENTITY, message_id uuid NOT NULL DEFAULT gen_random_uuid(),
			topic text NOT NULL, payload json NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id, created_at))
			PARTITION BY RANGE (created_at)`,
		`CREATE TABLE outbox_old PARTITION OF outbox FOR VALUES FROM (MINVALUE) TO ('2020-01-01')`,
		`CREATE TABLE outbox_new (extra int, payload json NOT NULL, topic text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
			message_id uuid NOT NULL DEFAULT gen_random_uuid(), id bigint NOT NULL)`,
		`ALTER TABLE outbox_new DROP COLUMN extra`,
		`ALTER TABLE outbox ATTACH PARTITION outbox_new DEFAULT`)
	s := f.stream()
	f.exec(`INSERT INTO {t} (topic, payload, created_at) VALUES ('old', '1', '2019-01-01'), ('new', '2', now())`)
	if got := topics(rows(t, s, 2)); got != "old new" {
		t.Errorf("rows %s", got)
	}
}

func TestTableMayChangeWhileItIsRead(t *testing.T) {
	f := setup(t)
	f.exec("ALTER PUBLICATION outbox_relay SET (publish = 'insert, update, delete, truncate')")
	f.exec("CREATE TABLE neighbor (id int PRIMARY KEY, topic text); ALTER PUBLICATION outbox_relay ADD TABLE neighbor")
	s := f.stream()
	f.exec(insert, "a")
	f.exec("ALTER TABLE {t} ADD COLUMN tenant int DEFAULT 7, ADD COLUMN blob bytea")
	f.exec("INSERT INTO {t} (blob, topic, payload) VALUES (decode(repeat('00', 300000), 'hex'), 'b', '2')")
	f.exec("ALTER TABLE {t} DROP COLUMN tenant")
	f.exec("INSERT INTO neighbor VALUES (1, 'not ours')")
	f.exec("UPDATE {t} SET sent_at = now()")
	f.exec("DELETE FROM {t} WHERE topic = 'a'")
	f.exec(insert, "c")
	f.exec("TRUNCATE {t} RESTART IDENTITY")
	f.payload("text")
	f.exec("INSERT INTO {t} (topic, payload) VALUES ('d', 'no json')")
	f.exec("VACUUM FULL {t}")
	f.exec("ALTER TABLE {t} RENAME TO elsewhere")
	f.exec("INSERT INTO elsewhere (topic, payload) VALUES ('renamed', '1')")
	f.exec("ALTER TABLE elsewhere RENAME TO outbox")
	f.exec(insert, "e")
	found := rowsAmongOthers(t, s, 5)
	if got := topics(found); got != "a b c d e" {
		t.Errorf("rows %s", got)
	}
	if m := found[3].Message; string(m.Payload) != "no json" || m.ID != 1 {
		t.Errorf("after the change of type: %+v", m)
	}
	f.exec("ALTER TABLE {t} DROP COLUMN key CASCADE")
	f.exec(insert, "f")
	e := unavailable(t, failure(t, s, patience), tail.ReasonShape)
	if !strings.Contains(e.Error(), "column key is missing") || !strings.Contains(e.Error(), "public.outbox") {
		t.Error(e)
	}
}

// rowsAmongOthers is like rows where transactions may be empty.
func rowsAmongOthers(t *testing.T, s *tail.Stream, n int) []tail.Event {
	t.Helper()
	var found []tail.Event
	for len(found) < n {
		if ev := next(t, s); ev.Kind == tail.Row {
			found = append(found, ev)
		}
	}
	return found
}

func TestNamesThatNeedQuotes(t *testing.T) {
	table := schema.Table{Schema: `S's`, Name: `we"ird 'Täble\`}
	f := setupOn(t, pgtest.Server(t), pgtest.Database(t), schema.Options{Table: table, Publication: `p"u'b\ c`})
	f.options.SlotPrefix = `Tenant-7 "ü"` + strings.Repeat("x", 80)
	s := f.stream()
	f.exec(insert, "a")
	if got := topics(rows(t, s, 1)); got != "a" {
		t.Errorf("rows %s", got)
	}
	if n := len(s.Slot()); n != 63 || !strings.HasPrefix(string(s.Slot()), "tenant_7__") {
		t.Errorf("slot %s of %d bytes", s.Slot(), n)
	}
}

func TestDomainsAreReadAsWhatTheyAreMadeOf(t *testing.T) {
	f := setup(t)
	f.exec("CREATE DOMAIN bytes AS bytea; CREATE DOMAIN bodies AS bytes")
	f.payload("bodies")
	s := f.stream()
	f.exec(`INSERT INTO {t} (topic, payload) VALUES ('a', '\x00ff')`)
	if m := rows(t, s, 1)[0].Message; string(m.Payload) != "\x00\xff" {
		t.Errorf("payload %q", m.Payload)
	}
}

func TestForeignSettingsDoNotChangeWhatIsRead(t *testing.T) {
	f := setup(t)
	f.payload("bytea")
	for _, set := range []string{
		"bytea_output = 'escape'", "DateStyle = 'German, DMY'", "TimeZone = 'Asia/Kathmandu'", "statement_timeout = '1ms'",
		"search_path = nowhere", "default_transaction_read_only = on", "lock_timeout = '1ms'", "client_encoding = 'LATIN1'",
		"standard_conforming_strings = off", "client_min_messages = error", "idle_session_timeout = '1min'",
	} {
		f.exec("ALTER ROLE " + f.options.Config.User + " SET " + set)
	}
	f.options.Accept = func(ctx context.Context, pg *pgconn.PgConn) error {
		for _, timeout := range []string{"statement_timeout", "idle_session_timeout"} {
			results, err := pg.Exec(ctx, "SHOW "+timeout).ReadAll()
			if err != nil {
				return err
			}
			if got := string(results[0].Rows[0][0]); got != "0" {
				t.Errorf("%s is %s", timeout, got)
			}
		}
		return nil
	}
	s := f.streamInTheEnd()
	f.exec(`INSERT INTO {t} (topic, key, payload, created_at) VALUES ('a', 'Ключ', '\x00ff', '2024-02-29 12:00:00+00')`)
	m := rows(t, s, 1)[0].Message
	if string(m.Payload) != "\x00\xff" || m.Key != "Ключ" || !m.CreatedAt.Equal(time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", m)
	}
}

// streamInTheEnd opens a stream as the relay does, again and again: a tiny timeout that
// the test has set may end the very statement that takes it away.
func (f *fixture) streamInTheEnd() *tail.Stream {
	f.t.Helper()
	var s *tail.Stream
	eventually(f.t, "the stream opens", func() bool {
		var err error
		if s, err = tail.Open(f.t.Context(), f.options); err != nil && sqltext.Code(err) != "57014" {
			f.t.Fatal(err)
		}
		return err == nil
	})
	f.t.Cleanup(s.Close)
	if err := s.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func TestEndOfContextLeavesTheStreamAsItWas(t *testing.T) {
	f := setup(t)
	s := f.stream()
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		for {
			if _, err := s.Next(ctx); err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				break
			}
		}
		cancel()
		f.exec(insert, "a")
		if got := topics(rows(t, s, 1)); got != "a" {
			t.Fatalf("rows %s", got)
		}
	}
}
