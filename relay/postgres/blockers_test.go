package postgres_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Somebody has a row locked, in each of the ways there are.
func TestBlockersAreFound(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(3)
	c, s := f.lead()
	all := refs(f.readPass(s))
	find := func() []relay.Blocker {
		t.Helper()
		found, err := c.Blockers(t.Context(), all) // within its deadline
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found, err := c.Blockers(t.Context(), all); len(found) > 0 {
		t.Errorf("nobody has a row locked, found %v: %v", found, err)
	}
	for name, sql := range map[string]string{
		"locked":           `SELECT FROM {t} WHERE id = 2 FOR UPDATE`,
		"shared":           `SELECT FROM {t} WHERE id = 2 FOR SHARE`,
		"updated":          `UPDATE {t} SET topic = topic WHERE id = 2`,
		"deleted":          `DELETE FROM {t} WHERE id = 2`,
		"table locked":     `LOCK TABLE {t} IN SHARE MODE`,
		"table all locked": `LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE`,
	} {
		t.Run(name, func(t *testing.T) {
			locker := f.other()
			begin(t, locker, "SET application_name = 'the report'", "BEGIN", f.sql(sql))
			want := relay.Blocker{PID: int(locker.PgConn().PID()), Application: "the report"}
			if found := find(); len(found) != 1 || found[0] != want {
				t.Errorf("found %v, want %v", found, want)
			}
			begin(t, locker, "ROLLBACK")
		})
	}
	t.Run("shared by two", func(t *testing.T) {
		for range 2 {
			locker := f.other()
			begin(t, locker, "BEGIN", f.sql(`SELECT FROM {t} WHERE id = 2 FOR SHARE`))
			defer begin(t, locker, "ROLLBACK")
		}
		if found := find(); len(found) != 2 {
			t.Errorf("found %v, want two", found)
		}
	})
	t.Run("prepared", func(t *testing.T) {
		gid := "blocker of " + f.value("SELECT current_database()").(string)
		begin(t, f.other(), "BEGIN", f.sql(`SELECT FROM {t} WHERE id = 2 FOR UPDATE`), fmt.Sprintf("PREPARE TRANSACTION '%s'", gid))
		defer f.exec(fmt.Sprintf("ROLLBACK PREPARED '%s'", gid))
		if found := find(); len(found) != 1 || found[0].PID != 0 || found[0].Prepared != gid {
			t.Errorf("found %v", found)
		}
	})
}

func begin(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
