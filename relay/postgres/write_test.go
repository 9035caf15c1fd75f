package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// insert adds n plain rows with keys.
func (f *fixture) insert(n int) {
	f.t.Helper()
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', 'k' || n % 10, '1' FROM generate_series(1, $1) AS n`, n)
}

func mark(t *testing.T, c relay.Control, list ...relay.Ref) []relay.Ref {
	t.Helper()
	done, err := c.Mark(t.Context(), marks(list...))
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func refuse(t *testing.T, c relay.Control, limit relay.AttemptLimit, list ...relay.Refusal) []relay.Verdict {
	t.Helper()
	verdicts, err := c.Refuse(t.Context(), limit, list)
	if err != nil {
		t.Fatal(err)
	}
	return verdicts
}

// never gives no row up.
var never = relay.AttemptLimit{Attempts: 1 << 30, Age: time.Hour}

func TestMarkSetsSentAt(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(10)
	c, s := f.lead()
	all := refs(f.readPass(s))
	if done := mark(t, c, all[:4]...); !slices.Equal(sorted(done), all[:4]) {
		t.Errorf("marked %v", done)
	}
	if n := f.count(`sent_at <= now() AND sent_at > now() - interval '1 minute' AND id <= 4 AND last_error IS NULL`); n != 4 {
		t.Errorf("%d rows are sent", n)
	}
	if got := ids(f.readPass(s)); !slices.Equal(got, []int64{5, 6, 7, 8, 9, 10}) {
		t.Errorf("the next pass brings %v", got)
	}
	if done, err := c.Mark(t.Context(), nil); err != nil || len(done) > 0 {
		t.Error("an empty batch:", done, err)
	}
}

func TestMarkAgainChangesNothing(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(2)
	c, s := f.lead()
	all := refs(f.readPass(s))
	mark(t, c, all[0])
	first := f.value(`SELECT sent_at FROM {t} WHERE id = 1`)
	if done := mark(t, c, all...); len(done) != 2 {
		t.Errorf("settled %v", done)
	}
	if again := f.value(`SELECT sent_at FROM {t} WHERE id = 1`); again != first {
		t.Error("a sent row was marked again")
	}
}

func TestMarkNotesAndKeepsTheLastError(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(3)
	f.exec(`UPDATE {t} SET last_error = 'old'`)
	c, s := f.lead()
	list := marks(refs(f.readPass(s))...)
	list[0].Note = "a note\x00 with \xff bytes"
	if _, err := c.Mark(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if got := f.value(`SELECT string_agg(last_error, '|' ORDER BY id) FROM {t}`); got != "a note with \ufffd bytes|old|old" {
		t.Errorf("last_error %q", got)
	}
}

// Sent wins: the broker has it, whatever a person has decided meanwhile.
func TestMarkOfADeadRowIsSent(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(1)
	c, s := f.lead()
	all := refs(f.readPass(s))
	f.exec(`UPDATE {t} SET dead_at = now()`)
	if done := mark(t, c, all...); len(done) != 1 || f.count(`sent_at IS NOT NULL AND dead_at IS NULL`) != 1 {
		t.Error("settled", done)
	}
}

// Rule 2: after TRUNCATE the ids are handed out again, to other rows.
func TestReusedIDIsNotTheRow(t *testing.T) {
	t.Parallel()
	for _, after := range []postgres.AfterSend{postgres.Mark, postgres.Delete} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			f := setup(t, shape{after: after})
			f.insert(5)
			c, s := f.lead()
			old := refs(f.readPass(s))
			f.exec(`TRUNCATE {t} RESTART IDENTITY`)
			f.insert(5)
			if done := mark(t, c, old[:3]...); len(done) != 3 {
				t.Errorf("settled %v, want all: they are gone", done)
			}
			verdicts := refuse(t, c, never, relay.Refusal{Ref: old[3], Reason: "x", Final: true}, relay.Refusal{Ref: old[4]})
			for _, v := range verdicts {
				if v.Fate != relay.Gone {
					t.Errorf("%+v", v)
				}
			}
			if len(verdicts) != 2 || f.count(`sent_at IS NULL AND dead_at IS NULL AND attempts = 0 AND available_at IS NULL`) != 5 {
				t.Error("a row that got an old id was touched")
			}
		})
	}
}

func TestDeleteRemovesTheRows(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{after: postgres.Delete})
	f.insert(5)
	c, s := f.lead()
	all := refs(f.readPass(s))
	f.exec(`UPDATE {t} SET sent_at = now() WHERE id = 2`)
	f.exec(`DELETE FROM {t} WHERE id = 3`)
	if done := mark(t, c, all[:3]...); len(done) != 3 {
		t.Errorf("settled %v", done)
	}
	if got := f.value(`SELECT string_agg(id::text, ' ' ORDER BY id) FROM {t}`); got != "4 5" {
		t.Errorf("left are rows %s", got)
	}
}

// Rule 11: somebody's row lock, here one held until the test lets go, holds up
// no other row, in any of the writes.
func TestLockedRowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for _, after := range []postgres.AfterSend{postgres.Mark, postgres.Delete} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			f := setup(t, shape{after: after})
			f.insert(20)
			c, s := f.lead()
			all := refs(f.readPass(s))
			locker := f.other()
			for _, sql := range []string{"BEGIN", f.sql(`SELECT FROM {t} WHERE id IN (3, 13) FOR UPDATE`)} {
				if _, err := locker.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			done := mark(t, c, all[:10]...) // within its deadline: the lock is held until the test lets go
			if len(done) != 9 || slices.Contains(done, all[2]) {
				t.Errorf("settled %d, row 3 among them: %t", len(done), slices.Contains(done, all[2]))
			}
			var list []relay.Refusal
			for _, r := range all[10:] {
				list = append(list, relay.Refusal{Ref: r, Reason: "full"})
			}
			verdicts := refuse(t, c, never, list...)
			if len(verdicts) != 9 || slices.ContainsFunc(verdicts, func(v relay.Verdict) bool { return v.ID == 13 }) {
				t.Errorf("%d verdicts", len(verdicts))
			}
			if n := f.count(`attempts = 1`); n != 9 {
				t.Errorf("%d rows have one attempt", n)
			}
			if _, err := locker.Exec(t.Context(), "COMMIT"); err != nil {
				t.Fatal(err)
			}
			if done := mark(t, c, all[2]); len(done) != 1 {
				t.Error("the row is not marked after the lock is gone")
			}
			if v := refuse(t, c, never, relay.Refusal{Ref: all[12]}); len(v) != 1 || v[0].Attempts != 1 {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestLockedTableRefusesTheBatchAndKeepsTheSession(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(3)
	c, s := f.lead()
	all := refs(f.readPass(s))
	locker := f.other()
	for _, sql := range []string{"BEGIN", f.sql(`LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE`)} {
		if _, err := locker.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := c.Mark(t.Context(), marks(all...)); !errors.Is(err, relay.ErrWriteRefused) || !strings.Contains(err.Error(), "is locked") || len(done) > 0 {
		t.Errorf("settled %v: %v", done, err)
	}
	if v, err := c.Refuse(t.Context(), never, []relay.Refusal{{Ref: all[0]}}); !errors.Is(err, relay.ErrWriteRefused) || len(v) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := locker.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if done := mark(t, c, all...); len(done) != 3 {
		t.Errorf("settled %v", done)
	}
}

func TestRefuseWritesTheRetry(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(2)
	c, s := f.lead()
	all := refs(f.readPass(s))
	for attempt := 1; attempt <= 3; attempt++ {
		v := refuse(t, c, never, relay.Refusal{
			Ref: all[0], Reason: fmt.Sprint("refused ", attempt), Type: relay.ErrorTypeFull, Delay: time.Hour,
		})
		if len(v) != 1 || v[0].Ref != all[0] || v[0].Fate != relay.Waiting || v[0].Attempts != attempt {
			t.Fatalf("%+v", v)
		}
	}
	if n := f.count(`id = 1 AND attempts = 3 AND last_error = 'refused 3' AND error_type = 'full' AND dead_at IS NULL AND sent_at IS NULL
		AND available_at > now() + interval '59 minutes' AND available_at < now() + interval '61 minutes'
		AND first_attempt_at < available_at - interval '1 hour'`); n != 1 {
		t.Error("the row is not as refused")
	}
	rows := f.readPass(s)
	if len(rows) != 2 || rows[0].Wait < 59*time.Minute || rows[0].Attempts != 3 || rows[0].Key != "k1" || rows[1].Wait != 0 {
		t.Errorf("%+v", rows)
	}
}

// A row that is given up without having been published keeps its attempts, and the time for
// which it was scheduled.
func TestRowThatWasNotPublishedIsGivenUpWithoutAnAttempt(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(2)
	f.exec(`UPDATE {t} SET available_at = '2026-01-01Z' WHERE id = 2`)
	c, s := f.lead()
	for _, r := range refs(f.readPass(s)) {
		v := refuse(t, c, never, relay.Refusal{Ref: r, Reason: "expired: x", Type: relay.ErrorTypeExpired, Final: true, Uncounted: true, Delay: time.Hour})
		if len(v) != 1 || v[0].Fate != relay.Dead || v[0].Attempts != 0 {
			t.Errorf("%+v", v)
		}
	}
	if n := f.count(`attempts = 0 AND first_attempt_at IS NULL AND dead_at IS NOT NULL AND error_type = 'expired' AND last_error = 'expired: x'
		AND available_at IS NOT DISTINCT FROM CASE id WHEN 2 THEN timestamptz '2026-01-01Z' END`); n != 2 {
		t.Errorf("%d rows are as given up", n)
	}
}

func TestRefusedRowsDie(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(6)
	ctl, reader := f.lead()
	all := refs(f.readPass(reader))
	limit := relay.AttemptLimit{Attempts: 3, Age: time.Hour}
	for i, c := range []struct {
		name     string
		attempts int
		first    string // first_attempt_at
		final    bool
		dead     bool
	}{
		{"first refusal", 0, "NULL", false, false},
		{"attempts used up, but young", 9, "now() - interval '59 minutes'", false, false},
		{"old, but attempts left", 1, "now() - interval '2 hours'", false, false},
		{"both", 2, "now() - interval '61 minutes'", false, true},
		{"final", 0, "NULL", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.exec(fmt.Sprintf(`UPDATE {t} SET attempts = %d, first_attempt_at = %s WHERE id = %d`, c.attempts, c.first, i+1))
			v := refuse(t, ctl, limit, relay.Refusal{Ref: all[i], Reason: "no", Final: c.final})
			want := relay.Waiting
			if c.dead {
				want = relay.Dead
			}
			if len(v) != 1 || v[0].Fate != want || v[0].Attempts != c.attempts+1 {
				t.Errorf("%+v, want %d", v, want)
			}
			if is := f.count(fmt.Sprintf(`dead_at IS NOT NULL AND id = %d`, i+1)) == 1; is != c.dead {
				t.Errorf("dead_at is set: %t", is)
			}
		})
	}
	t.Run("at the first refusal", func(t *testing.T) {
		v := refuse(t, ctl, relay.AttemptLimit{Attempts: 1}, relay.Refusal{Ref: all[5]})
		if len(v) != 1 || v[0].Fate != relay.Dead {
			t.Errorf("%+v", v)
		}
	})
}

func TestRefuseLeavesSentAndDeletedRowsAlone(t *testing.T) {
	t.Parallel()
	for _, after := range []postgres.AfterSend{postgres.Mark, postgres.Delete} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			f := setup(t, shape{after: after})
			f.insert(3)
			c, s := f.lead()
			all := refs(f.readPass(s))
			f.exec(`UPDATE {t} SET sent_at = now() WHERE id = 1`)
			f.exec(`DELETE FROM {t} WHERE id = 2`)
			f.exec(`UPDATE {t} SET dead_at = '2020-01-01' WHERE id = 3`)
			fates := map[int64]relay.Fate{}
			for _, v := range refuse(t, c, never, relay.Refusal{Ref: all[0], Final: true}, relay.Refusal{Ref: all[1]}, relay.Refusal{Ref: all[2]}) {
				fates[v.ID] = v.Fate
			}
			if fates[1] != relay.Gone || fates[2] != relay.Gone || fates[3] != relay.Dead {
				t.Errorf("%v", fates)
			}
			if f.count(`id = 1 AND attempts = 0 AND dead_at IS NULL`) != 1 || f.count(`id = 3 AND dead_at = '2020-01-01'`) != 1 {
				t.Error("rows were touched")
			}
		})
	}
}

func TestRefuseTakesAnyReason(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(1)
	c, s := f.lead()
	all := refs(f.readPass(s))
	refuse(t, c, never, relay.Refusal{Ref: all[0], Reason: "a\x00b\xffc" + strings.Repeat("é", 5000), Delay: 1<<63 - 1})
	if n := f.count(`last_error LIKE 'ab%cé%' AND octet_length(last_error) BETWEEN 2000 AND 2100`); n != 1 {
		t.Errorf("last_error %.40q", f.value(`SELECT last_error FROM {t}`))
	}
}

func TestRefuseInADatabaseOfAnotherEncoding(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{database: "ENCODING LATIN1 LOCALE 'C'"})
	f.insert(1)
	c, s := f.lead()
	refuse(t, c, never, relay.Refusal{Ref: refs(f.readPass(s))[0], Reason: "stream “Ω” is full"})
	if got := f.value(`SELECT last_error FROM {t}`); got != "stream ??? is full" {
		t.Errorf("last_error %q", got)
	}
}

// A mark that a crash of the server loses costs a duplicate. A dead row that it
// loses would come back after its followers.
func TestRefusalsCommitDurablyAndMarksDoNot(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(2)
	f.exec(`CREATE TABLE commits (id bigint, mode text)`)
	f.exec(`GRANT INSERT ON commits TO PUBLIC`)
	f.exec(`CREATE FUNCTION note_mode() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN INSERT INTO public.commits VALUES (NEW.id, current_setting('synchronous_commit')); RETURN NEW; END$$`)
	f.exec(`CREATE TRIGGER note_mode AFTER UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION note_mode()`)
	c, s := f.lead()
	all := refs(f.readPass(s))
	refuse(t, c, never, relay.Refusal{Ref: all[0]})
	mark(t, c, all[1])
	if got := f.value(`SELECT string_agg(id || ' ' || mode, ', ' ORDER BY id) FROM commits`); got != "1 on, 2 off" {
		t.Error("synchronous_commit:", got)
	}
}

func TestTriggerThatRefusesIsAClearError(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(2)
	f.exec(`CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN IF NEW.id = 1 THEN RAISE EXCEPTION 'no updates on Mondays'; END IF; RETURN NULL; END$$`)
	f.exec(`CREATE TRIGGER veto BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION veto()`)
	c, s := f.lead()
	all := refs(f.readPass(s))
	for i, want := range []string{"no updates on Mondays", "a trigger or rule on public.outbox suppresses the write to row 2"} {
		if _, err := c.Mark(t.Context(), marks(all[i])); !errors.Is(err, relay.ErrWriteRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("mark row %d: %v", i+1, err)
		}
		_, err := c.Refuse(t.Context(), never, []relay.Refusal{{Ref: all[i]}})
		if !errors.Is(err, relay.ErrWriteRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("refuse row %d: %v", i+1, err)
		}
	}
}

// A row whose write is suppressed is told apart from those that somebody has locked.
func TestSuppressedRowAmongLockedOnesIsFound(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(10)
	f.exec(`CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN IF NEW.id = 3 THEN RETURN NULL; END IF; RETURN NEW; END$$`)
	f.exec(`CREATE TRIGGER veto BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION veto()`)
	c, s := f.lead()
	all := refs(f.readPass(s))
	begin(t, f.other(), "BEGIN", f.sql(`SELECT FROM {t} WHERE id = 7 FOR UPDATE`))
	done, err := c.Mark(t.Context(), marks(all...))
	if !errors.Is(err, relay.ErrWriteRefused) || !strings.Contains(err.Error(), "suppresses the write to row 3") || len(done) != 8 {
		t.Errorf("settled %d: %v", len(done), err)
	}
	if done, err := c.Mark(t.Context(), marks(all[6])); err != nil || len(done) > 0 {
		t.Errorf("the locked row: settled %v: %v", done, err)
	}
	var list []relay.Refusal
	for _, r := range []relay.Ref{all[2], all[6]} {
		list = append(list, relay.Refusal{Ref: r})
	}
	if v, err := c.Refuse(t.Context(), never, list); !errors.Is(err, relay.ErrWriteRefused) || len(v) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestWritesWorkOnATableWithAnyName(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{table: `"Ünder the ""roof"""."Out Box; DROP"`})
	f.insert(4)
	c, s := f.lead()
	all := refs(f.readPass(s))
	mark(t, c, all[:2]...)
	refuse(t, c, never, relay.Refusal{Ref: all[2], Final: true})
	if f.count(`sent_at IS NOT NULL`) != 2 || f.count(`dead_at IS NOT NULL`) != 1 || len(f.readPass(s)) != 1 {
		t.Error("the rows are not as written")
	}
}

func sorted(list []relay.Ref) []relay.Ref {
	slices.SortFunc(list, func(a, b relay.Ref) int { return int(a.ID - b.ID) })
	return list
}
