package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestRowIsGivenUpWhenItsFailureLasts(t *testing.T) {
	var u unreadable
	passing, lasting := &pgconn.PgError{Code: "XX001"}, &pgconn.PgError{Code: "22P05"}
	now := time.Now()
	row := relay.Ref{ID: 1}
	if !u.isFinal(row, lasting, now) {
		t.Error("what the row contains will not change")
	}
	for i, step := range []time.Duration{0, time.Second, 8 * time.Second} {
		if u.isFinal(row, passing, now.Add(step)) {
			t.Errorf("given up at try %d, after %s", i+1, step)
		}
	}
	if !u.isFinal(row, passing, now.Add(unreadableFor)) || len(u.rows) > 0 {
		t.Errorf("not given up after %s, or still remembered", unreadableFor)
	}
	if u.isFinal(row, passing, now) || u.isFinal(row, passing, now.Add(time.Hour)) {
		t.Error("a failure of an hour ago counts")
	}
	for id := range int64(2 * maxUnreadable) {
		u.isFinal(relay.Ref{ID: id}, passing, now)
	}
	if len(u.rows) > maxUnreadable {
		t.Errorf("%d rows are remembered", len(u.rows))
	}
}
