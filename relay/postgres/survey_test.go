package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema"
)

func (f *fixture) survey(s relay.Reader, req relay.ChunkRequest) relay.Survey {
	f.t.Helper()
	v, err := s.Survey(f.t.Context(), req)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

func everything() relay.ChunkRequest { return request(relay.Pass{}) }

// What a survey brings is what its snapshot sees: the rows of transactions that
// were open are not there, and the snapshot says so.
func TestSurveyBringsWhatItsSnapshotSees(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	_, s := f.lead()
	insert := f.sql("INSERT INTO {t} (topic, payload) VALUES ('a', '1') RETURNING pg_current_xact_id()::xid::text::bigint")
	xid := func(v any) wal.XID { return wal.XID(v.(int64)) }

	before := xid(f.value(insert))
	open := f.other()
	if _, err := open.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	var running int64
	if err := open.QueryRow(t.Context(), insert).Scan(&running); err != nil {
		t.Fatal(err)
	}
	after := xid(f.value(insert))
	v := f.survey(s, everything())
	if !v.Complete || len(v.Rows) != 2 {
		t.Fatalf("%d rows, complete: %v; want the two that are committed", len(v.Rows), v.Complete)
	}
	if !v.Snapshot.Sees(before) || !v.Snapshot.Sees(after) || v.Snapshot.Sees(wal.XID(running)) {
		t.Errorf("the snapshot %v sees %d: %v, %d: %v, and the open %d: %v", v.Snapshot,
			before, v.Snapshot.Sees(before), after, v.Snapshot.Sees(after), running, v.Snapshot.Sees(wal.XID(running)))
	}
	if _, err := open.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	end := wal.LSN(f.value("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").(int64))
	next := f.survey(s, everything())
	if len(next.Rows) != 3 || !next.Snapshot.Sees(wal.XID(running)) || next.Position < end {
		t.Errorf("%d rows, the snapshot sees %d: %v, position %d; want 3, true, at least %d",
			len(next.Rows), running, next.Snapshot.Sees(wal.XID(running)), next.Position, end)
	}
}

// All rows or none: by their number, by their bytes, and with rows so large that
// they are fetched one by one.
func TestSurveyIsCompleteOrEmpty(t *testing.T) {
	t.Parallel()
	for _, payload := range []schema.PayloadType{schema.PayloadJSON, schema.PayloadBytea} {
		t.Run(string(payload), func(t *testing.T) {
			f := setup(t, shape{payload: payload})
			_, s := f.lead()
			value := map[schema.PayloadType]string{schema.PayloadJSON: `to_json(repeat('x', n * 1000))`, schema.PayloadBytea: `decode(repeat('00', n * 1000), 'hex')`}[payload]
			f.exec("INSERT INTO {t} (topic, payload) SELECT 'a', " + value + " FROM generate_series(1, 100) AS n")
			all := f.survey(s, everything())
			if !all.Complete || len(all.Rows) != 100 {
				t.Fatalf("%d rows, complete: %v", len(all.Rows), all.Complete)
			}
			var bytes int64
			for i, row := range all.Rows {
				bytes += row.Size
				if row.ID != int64(i+1) || len(row.Payload) < (i+1)*1000 {
					t.Fatalf("row %d is %d with %d bytes", i, row.ID, len(row.Payload))
				}
			}
			for _, limit := range []struct {
				rows     int
				bytes    int64
				complete bool
			}{{101, bytes, true}, {100, bytes, false}, {50, bytes, false}, {1000, bytes - 1, false}, {1000, bytes / 2, false}, {1000, 100, false}} {
				req := everything()
				req.Rows, req.Bytes = limit.rows, limit.bytes
				v := f.survey(s, req)
				if v.Complete != limit.complete || !v.Complete && len(v.Rows) > 0 {
					t.Errorf("%d rows, complete: %v, with the limits %+v", len(v.Rows), v.Complete, limit)
				}
			}
		})
	}
}

func TestSurveyTellsWhenTheNextScheduledRowIsDue(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	_, s := f.lead()
	if v := f.survey(s, everything()); v.NextScheduled != 0 || v.Synchronous {
		t.Errorf("an empty table: %+v", v)
	}
	f.exec(`INSERT INTO {t} (topic, payload, available_at) VALUES ('a', '1', now() + interval '1 hour'), ('a', '1', 'infinity'),
		('a', '1', now() + interval '2 hours'), ('due', '1', now() - interval '1 hour')`)
	f.exec(`INSERT INTO {t} (topic, payload, available_at, attempts) VALUES ('retry', '1', now() + interval '30 minutes', 1)`)
	v := f.survey(s, everything())
	if minutes := v.NextScheduled.Minutes(); minutes < 50 || minutes > 60 {
		t.Errorf("the next scheduled row is due in %v, want within the hour", v.NextScheduled)
	}
	if len(v.Rows) != 2 || v.Rows[0].Wait != 0 || !v.Rows[0].Scheduled || v.Rows[1].Wait == 0 {
		t.Errorf("rows %+v, want the one that is due, and the one that waits for its retry", v.Rows)
	}
}

// A row that the server cannot read: passes find out which it is.
func TestSurveyThatMeetsABadRowIsNotComplete(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{payload: schema.PayloadText, database: "ENCODING WIN1252 LOCALE 'C'"})
	f.exec(`SET client_encoding = 'UTF8'`)
	_, s := f.lead()
	// One that is read in the scan, and one so large that it is fetched.
	for _, bad := range []string{`chr(129)`, `(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) AS n) || chr(129)`} {
		f.exec("TRUNCATE {t}")
		f.exec("INSERT INTO {t} (topic, payload) VALUES ('a', 'good'), ('a', " + bad + "), ('a', 'good')")
		if v := f.survey(s, everything()); v.Complete || len(v.Rows) > 0 {
			t.Errorf("survey %+v", v)
		}
		if rows := f.readPass(s); len(rows) != 3 || rows[1].Defect == nil { // the session is as good as before
			t.Errorf("rows %+v", rows)
		}
	}
}

// The payload gets another type while the session lives.
func TestSurveySurvivesAnAlteredTable(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	_, s := f.lead()
	f.exec(`INSERT INTO {t} (topic, payload) VALUES ('a', '{"a": 1}')`)
	f.survey(s, everything())
	f.exec("DROP TRIGGER outbox_guard ON {t}")
	f.exec("ALTER TABLE {t} ALTER COLUMN payload TYPE text USING payload::text, ADD COLUMN more int")
	if v := f.survey(s, everything()); !v.Complete || len(v.Rows) != 1 || string(v.Rows[0].Payload) != `{"a": 1}` {
		t.Errorf("survey %+v", v)
	}
}

func TestTailIsOpenedBesideTheLeaderOnly(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	d := f.database()
	limit := func() int64 { return 0 }
	if _, err := d.OpenTail(t.Context(), f.connect(), limit); !errors.Is(err, relay.ErrNotLeader) {
		t.Errorf("the tail of a relay that does not lead: %v", err)
	}
	c, s := f.lead()
	log, err := d.OpenTail(t.Context(), c, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if lag, err := s.InspectTail(t.Context(), log); err != nil || lag.Retained < 0 || lag.Read == 0 || lag.End < lag.Read {
		t.Errorf("inspection: %+v, %v", lag, err)
	}
	f.exec("ALTER PUBLICATION outbox_relay DROP TABLE {t}")
	if _, err := s.InspectTail(t.Context(), log); !errors.Is(err, relay.ErrNoTail) || !strings.Contains(fmt.Sprint(err), "lacks table") {
		t.Errorf("inspection without the table: %v", err)
	}
	f.exec("DROP PUBLICATION outbox_relay")
	if _, err := s.InspectTail(t.Context(), log); !errors.Is(err, relay.ErrNoTail) || !strings.Contains(fmt.Sprint(err), "does not exist") {
		t.Errorf("inspection without the publication: %v", err)
	}
	f.exec("CREATE PUBLICATION outbox_relay FOR TABLE {t} WITH (publish = 'insert')")
	log.Close()
	for !errors.Is(err, relay.ErrNoTail) { // the slot goes with the connection, soon
		if _, err = s.InspectTail(t.Context(), log); t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Begin(t.Context()); err != nil {
		t.Errorf("the session after inspections: %v", err)
	}
}

// The beginning of a transaction tells the loop nothing: its rows tell the same position.
func TestTailTellsRowsAndThenTheirPosition(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c, _ := f.lead()
	log, err := f.database().OpenTail(t.Context(), c, func() int64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.exec(`INSERT INTO {t} (topic, payload) VALUES ('a', '1'), ('b', '2')`)
	var told []string
	var before, position wal.LSN
	for len(told) < 3 {
		ev, err := log.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case ev.Message != nil:
			before = ev.Position
			told = append(told, ev.Message.Topic)
		case len(told) > 0 || ev.XID != 0: // else it is a keepalive
			position = ev.Position
			told = append(told, "position")
		}
	}
	if got := strings.Join(told, " "); got != "a b position" || position <= before {
		t.Errorf("the log tells %s, with %s before and %s at the end", got, before, position)
	}
}

// Rows of the log may be marked before others can see them: until their
// transaction is visible, they are not gone.
func TestRowOfATransactionThatIsNotVisibleIsNotGone(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c, _ := f.lead()
	open := f.other()
	if _, err := open.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	var ref relay.Ref
	var xid, id int64
	var messageID string
	err := open.QueryRow(t.Context(), f.sql("INSERT INTO {t} (topic, payload) VALUES ('a', '1') RETURNING pg_current_xact_id()::xid::text::bigint, id, message_id::text")).
		Scan(&xid, &id, &messageID)
	if err != nil {
		t.Fatal(err)
	}
	ref.ID = id
	if ref.MessageID, err = relay.ParseMessageID(messageID); err != nil {
		t.Fatal(err)
	}
	marks := []relay.Mark{{Ref: ref, XID: wal.XID(xid)}}
	refusals := []relay.Refusal{{Ref: ref, XID: wal.XID(xid), Reason: "test"}}
	limit := relay.AttemptLimit{Attempts: 10}
	if done, err := c.Mark(t.Context(), marks); err != nil || len(done) != 0 {
		t.Errorf("marked before it is visible: %v, %v", done, err)
	}
	if done, err := c.Refuse(t.Context(), limit, refusals); err != nil || len(done) != 0 {
		t.Errorf("refused before it is visible: %v, %v", done, err)
	}
	if _, err := open.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if done, err := c.Mark(t.Context(), marks); err != nil || len(done) != 1 {
		t.Errorf("marked: %v, %v", done, err)
	}
	f.exec("DELETE FROM {t}")
	if done, err := c.Mark(t.Context(), marks); err != nil || len(done) != 1 {
		t.Errorf("a row that is gone: %v, %v", done, err)
	}
}

// A survey comes while ALTER TABLE rewrites the table: to a snapshot that is older
// than the rewrite, the table would be empty.
func TestSurveyBehindARewriteSeesTheRows(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	_, s := f.lead()
	f.exec("INSERT INTO {t} (topic, payload) SELECT 'a', '1' FROM generate_series(1, 3)")
	f.survey(s, everything()) // what is prepared is prepared
	other := f.other()
	for _, sql := range []string{"BEGIN", "ALTER TABLE {t} ADD COLUMN more uuid DEFAULT gen_random_uuid()"} {
		if _, err := other.Exec(t.Context(), f.sql(sql)); err != nil {
			t.Fatal(err)
		}
	}
	surveyed := make(chan relay.Survey, 1)
	go func() {
		v, err := s.Survey(t.Context(), everything())
		if err != nil {
			t.Error(err)
		}
		surveyed <- v
	}()
	for waiting := int64(0); waiting == 0; {
		waiting = f.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{t}'::regclass").(int64)
		if t.Context().Err() != nil {
			t.Fatal("nobody waits for the table")
		}
	}
	if _, err := other.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if v := <-surveyed; !v.Complete || len(v.Rows) != 3 {
		t.Errorf("%d rows, complete: %v; want 3", len(v.Rows), v.Complete)
	}
}
