package postgres_test

import (
	"math"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// The copy of a row that somebody has locked is noted when the lock is gone, and nobody
// waits for that. A row that has died again meanwhile owes another copy.
func TestCopyOfALockedRowIsNotedLater(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, dead_at, error_type) SELECT 't', '1', '2026-01-01Z', 'full' FROM generate_series(1, 3)`)
	leader, _ := f.lead()
	letters := insist(t, func() (relay.DeadLetters, error) { return f.database().OpenDeadLetters(t.Context(), leader) })
	t.Cleanup(letters.Close)
	owed := func() []relay.Ref {
		t.Helper()
		rows, _, end, err := letters.Owed(t.Context(), math.MinInt64, 100)
		if err != nil || !end {
			t.Fatal(end, err)
		}
		return rows
	}
	rows := owed()
	if len(rows) != 3 {
		t.Fatalf("%d rows owe a copy", len(rows))
	}
	note := func(d relay.DeadLetter, want bool) {
		t.Helper()
		if noted, err := letters.Copied(t.Context(), d); err != nil || noted != want {
			t.Errorf("row %d: noted is %t, want %t (%v)", d.ID, noted, want, err)
		}
	}
	letter := func(r relay.Ref) relay.DeadLetter {
		t.Helper()
		d, found, err := letters.Letter(t.Context(), r, 1000)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		return d
	}
	first, second, third := letter(rows[0]), letter(rows[1]), letter(rows[2])
	locker := f.other()
	begin(t, locker, "BEGIN", f.sql(`SELECT FROM {t} WHERE id = 1 FOR UPDATE`))
	note(first, false)
	note(second, true)
	f.exec(`UPDATE {t} SET dead_at = now() WHERE id = 3`)
	note(third, true) // of that death nothing is left to note
	if left := owed(); len(left) != 2 || left[0].ID != 1 || left[1].ID != 3 {
		t.Errorf("%v owe a copy, want rows 1 and 3", left)
	}
	begin(t, locker, "ROLLBACK")
	note(first, true)
	note(letter(rows[2]), true)
	if left := owed(); len(left) != 0 {
		t.Errorf("%v owe a copy", left)
	}
}
