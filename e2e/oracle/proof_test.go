package oracle_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// every returns a hook that is true once in n times.
func every(n int) func(int) bool { return func(i int) bool { return i%n == 0 } }

type naiveCase struct {
	name  string
	spoil func(t *testing.T, s *stage)
	want  []oracle.Clause
}

// relays are naive ones: two that are sound, and at least one that breaks each
// clause and no other.
var relays = []naiveCase{
	{"keeps its promises", func(*testing.T, *stage) {}, nil},
	{"deletes where told so", func(_ *testing.T, s *stage) {
		s.relay.mark = `DELETE FROM ` + s.table.Quoted() + ` WHERE id = $1`
		s.limits.Deletes = true
	}, nil},
	{"drops rows", func(_ *testing.T, s *stage) {
		s.relay.publish = func(m *nats.Msg) *nats.Msg {
			if s.relay.count%50 == 0 {
				return nil
			}
			return m
		}
	}, []oracle.Clause{oracle.ClauseReceived}},
	{"publishes before the commit", publishesBeforeCommit, []oracle.Clause{oracle.ClauseCommitted}},
	{"publishes copies under new ids", func(t *testing.T, s *stage) {
		s.relay.publish = func(m *nats.Msg) *nats.Msg {
			if s.relay.count%50 == 0 {
				s.republish(t, m, nats.Header{"Nats-Msg-Id": {fmt.Sprintf("try-2-%d", s.relay.count)}})
			}
			return m
		}
	}, []oracle.Clause{oracle.ClauseIdentity}},
	{"encodes payloads again", func(_ *testing.T, s *stage) { s.relay.publish = compacted }, []oracle.Clause{oracle.ClauseContent}},
	{"forgets headers", func(_ *testing.T, s *stage) {
		s.relay.publish = func(m *nats.Msg) *nats.Msg {
			delete(m.Header, "tenant")
			return m
		}
	}, []oracle.Clause{oracle.ClauseContent}},
	{"swaps rows of a key", func(_ *testing.T, s *stage) { s.relay.order = newestFirst }, []oracle.Clause{oracle.ClauseOrder}},
	{"publishes again without a fault", publishesAgain, []oracle.Clause{oracle.ClauseRedelivery}},
	{"forgets to mark", func(_ *testing.T, s *stage) { s.relay.forget = every(50) }, []oracle.Clause{oracle.ClauseSettled}},
	{"marks where told to delete", func(_ *testing.T, s *stage) { s.limits.Deletes = true }, []oracle.Clause{oracle.ClauseSettled}},
	{"deletes where told to mark", func(_ *testing.T, s *stage) {
		s.relay.mark = `DELETE FROM ` + s.table.Quoted() + ` WHERE id = $1`
	}, []oracle.Clause{oracle.ClauseKept}},
	{"gives rows up", func(_ *testing.T, s *stage) {
		s.relay.mark = `UPDATE ` + s.table.Quoted() + ` SET sent_at = CASE WHEN id % 50 > 0 THEN now() END,
			dead_at = CASE WHEN id % 50 = 0 THEN now() END WHERE id = $1`
	}, []oracle.Clause{oracle.ClauseAlive}},
	{"leaves unpublishable rows pending", func(t *testing.T, s *stage) {
		s.bury(t)
	}, []oracle.Clause{oracle.ClauseBuried}},
}

func TestOracleCatchesEachBrokenPromiseOfANaiveRelay(t *testing.T) {
	for _, c := range relays {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			c.spoil(t, s)
			s.play(t)
			committed, findings := s.judge(t)
			if len(committed) < s.load.Rows {
				t.Errorf("%d rows were committed, want at least %d", len(committed), s.load.Rows)
			}
			if got := oracle.Broken(findings); !slices.Equal(got, c.want) {
				t.Errorf("broken clauses = %q, want %q\n%s", got, c.want, oracle.Report(findings))
			}
		})
	}
}

func TestEveryClauseHasARelayThatBreaksIt(t *testing.T) {
	for _, clause := range oracle.Clauses() {
		if !slices.ContainsFunc(relays, func(r naiveCase) bool { return slices.Contains(r.want, clause) }) {
			t.Errorf("no naive relay breaks %q", clause)
		}
	}
}

// publishesBeforeCommit is the application that writes to both ends, the
// mistake that an outbox is there to prevent. Only what it rolls back is seen
// twice, once there and once nowhere.
func publishesBeforeCommit(_ *testing.T, s *stage) {
	s.load.BeforeEnd = func(ctx context.Context, rows []oracle.Row, commit bool) error {
		if commit {
			return nil
		}
		for _, r := range rows {
			m := naiveRow{
				messageID: r.MessageID.String(), topic: r.Topic, contentType: r.ContentType,
				headers: r.Headers, payload: r.Payload,
			}
			if r.Content.Keyed {
				m.key = &r.Content.Key
			}
			if _, err := s.js.PublishMsg(ctx, m.message()); err != nil {
				return err
			}
		}
		return nil
	}
}

// publishesAgain sends rows once more, long after their acknowledgement.
func publishesAgain(_ *testing.T, s *stage) {
	var old []*nats.Msg
	s.relay.publish = func(m *nats.Msg) *nats.Msg {
		if len(old) < 3 {
			old = append(old, m)
		}
		return m
	}
	s.limits.Redeliveries = 2
	s.ending = func(t *testing.T) {
		for _, m := range old {
			s.republish(t, m, nil)
		}
	}
}

// republish sends a copy until the broker stores it: within the duplicate window
// it does not.
func (s *stage) republish(t *testing.T, m *nats.Msg, change nats.Header) {
	again := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}}
	maps.Copy(again.Header, m.Header)
	maps.Copy(again.Header, change)
	for deadline := time.Now().Add(time.Minute); ; {
		ack, err := s.js.PublishMsg(t.Context(), again)
		if err != nil {
			t.Error(err)
			return
		}
		if !ack.Duplicate {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the broker takes %s for a duplicate for ever", again.Header["Nats-Msg-Id"])
			return
		}
	}
}

// bury commits a row that no broker would take.
func (s *stage) bury(t *testing.T) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), s.relay.db, func(tx pgx.Tx) error {
		rows, err := oracle.Insert(t.Context(), tx, s.table, schema.PayloadJSON, 0, oracle.Content{Payload: []byte("{}")})
		if err != nil {
			return err
		}
		return oracle.Expect(t.Context(), tx, oracle.Buried, rows[0].MessageID)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The load is worth nothing if it does not do what it says.
func TestLoadRollsBackAndLosesSessionsAndTheLedgerStaysExact(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.load.KillEvery, s.load.Rate = 20*time.Millisecond, 1000
	var endings atomic.Int64
	s.load.BeforeEnd = func(context.Context, []oracle.Row, bool) error {
		endings.Add(1)
		return nil
	}
	stats := s.play(t)
	if stats.RolledBack == 0 || stats.SavepointRolledBack == 0 || stats.Killed == 0 || stats.Unresolved == 0 || endings.Load() == 0 {
		t.Errorf("stats = %+v, %d endings seen: each of them should be more than 0", stats, endings.Load())
	}
	committed, findings := s.judge(t)
	if len(findings) > 0 {
		t.Errorf("the relay kept its promises, the oracle says:\n%s", oracle.Report(findings))
	}
	if len(committed) < stats.Committed {
		t.Errorf("the ledger has %d rows, the writers saw %d committed", len(committed), stats.Committed)
	}
	var rows int
	if err := s.relay.db.QueryRow(t.Context(), `SELECT count(*) FROM `+s.table.Quoted()).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	if rows != len(committed) {
		t.Errorf("the table has %d rows, the ledger %d", rows, len(committed))
	}
}

func TestBulkDigestsInTheServerEqualThoseOfTheConsumer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, b := range []oracle.Bulk{
		{Table: s.table, Topic: "oracle.bulk", Rows: 300, Prefix: "é ", Keys: 7, Payload: 300},
		{Table: s.table, Topic: "oracle.bulk", Rows: 50, Payload: 3000},
	} {
		err := pgx.BeginFunc(t.Context(), s.relay.db, func(tx pgx.Tx) error {
			return b.Insert(t.Context(), tx, schema.PayloadJSON)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.load.Rows = 1
	s.play(t)
	committed, findings := s.judge(t)
	if len(committed) < 350 || len(findings) > 0 {
		t.Errorf("%d rows committed, want at least 350\n%s", len(committed), oracle.Report(findings))
	}
}

func TestTruncateIsEnteredInTheLedger(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.load.Rate, s.load.Rows = 1000, 0 // so that there is a load before and after
	const batch = 200
	cut := 0
	s.enough = func() bool { return cut > 0 && s.relay.count > cut+batch+100 }
	db := pgtest.Connect(t, s.url)
	s.relay.publish = func(m *nats.Msg) *nats.Msg {
		if s.relay.count > 100 && cut == 0 {
			cut = s.relay.count
			if err := oracle.Truncate(t.Context(), db, s.table); err != nil {
				t.Error(err)
			}
		}
		return m
	}
	s.play(t)
	committed, findings := s.judge(t)
	if len(findings) > 0 {
		t.Errorf("the relay kept its promises, the oracle says:\n%s", oracle.Report(findings))
	}
	byExpectation := map[oracle.Expectation]int{}
	for _, w := range committed {
		byExpectation[w.Expect]++
	}
	if byExpectation[oracle.Purged] == 0 || byExpectation[oracle.Delivered] == 0 {
		t.Errorf("rows by expectation: %v, want some of each", byExpectation)
	}
}
