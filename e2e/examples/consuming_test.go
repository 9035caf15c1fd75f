package examples

import (
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// broker is the one between the relay and a consumer of the page.
type broker interface {
	// name is the end of the programs' names.
	name() string
	url() string
	// take gets the next message as an instance of the consumer does. It is given back by
	// the second function, as the broker does with what a dead consumer had in hand.
	take(t *testing.T) (message, func())
	// unacknowledged is how many messages the consumer still has before it.
	unacknowledged(t *testing.T) int
}

type message struct {
	id      string
	payload []byte
}

// TestConsumersOfThePageGiveEachMessageItsEffectOnce: a message whose consumer died between
// commit and acknowledgement, and one that is replayed, have one effect each.
func TestConsumersOfThePageGiveEachMessageItsEffectOnce(t *testing.T) {
	page := readPage(t, "consuming.md")
	for _, l := range languages() {
		if l.main == nil {
			continue
		}
		for _, start := range []func(*testing.T) broker{startNATS, startRabbitMQ} {
			b := start(t)
			t.Run(l.name+"/"+b.name(), func(t *testing.T) { effectOnce(t, page, l, b) })
		}
	}
}

func effectOnce(t *testing.T, page page, l language, b broker) {
	s := newShop(t, b)
	consumer := prepare(t, page, l, l.main("consume_"+b.name()), append(databaseEnv(t, s.address), "BROKER_URL="+b.url())...)

	running := consumer.start(t)
	s.order("ann", "9.90")
	s.awaitRevenue("ann", "9.90")
	await.Until(t, "the consumer has acknowledged", func() bool { return b.unacknowledged(t) == 0 })
	kill(t, running)

	s.order("bob", "2.50")
	redelivered, giveBack := b.take(t)
	s.exec(page["sql"]["effect.sql"], redelivered.id, redelivered.payload) // and then it died
	giveBack()
	s.replay("ann", func() bool { return b.unacknowledged(t) == 2 })
	s.order("cy", "4")
	await.Until(t, "the broker has all", func() bool { return b.unacknowledged(t) == 3 })

	consumer.start(t)
	s.awaitRevenue("cy", "4")
	await.Until(t, "the consumer has acknowledged all", func() bool { return b.unacknowledged(t) == 0 })
	for customer, total := range map[string]string{"ann": "9.90", "bob": "2.50", "cy": "4"} {
		if got := s.revenue(customer); got != total {
			t.Errorf("%s has spent %s, want %s: each message has its effect once", customer, got, total)
		}
	}
	if n := s.count("SELECT count(*) FROM processed_messages"); n != 3 {
		t.Errorf("the inbox has %d ids, want 3", n)
	}
}

// shop is a database with an outbox and its relay. It is also the consumer's, whose tables
// are beside the outbox here.
type shop struct {
	t       *testing.T
	address string
	conn    *pgx.Conn
}

func newShop(t *testing.T, b broker) *shop {
	t.Helper()
	s := &shop{t: t, address: pgtest.Database(t)}
	s.conn = pgtest.Connect(t, s.address)
	outbox := schema.Table{Schema: "public", Name: "outbox"}
	for _, script := range []string{
		schema.SQL(schema.Options{Table: outbox}), schema.InboxSQL(schema.DefaultInbox),
		"CREATE TABLE revenue (customer text PRIMARY KEY, total numeric NOT NULL)",
	} {
		if err := s.conn.PgConn().Exec(t.Context(), script).Close(); err != nil {
			t.Fatal(err)
		}
	}
	relaybin.Start(t, relaybin.Released, map[string]string{
		"OUTBOX_DATABASE_URL": s.address, "OUTBOX_SINK_URL": b.url(), "OUTBOX_RETRY_MAX": "1s",
	})
	return s
}

func (s *shop) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

func (s *shop) count(sql string, args ...any) (n int) {
	s.t.Helper()
	if err := s.conn.QueryRow(s.t.Context(), sql, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// order has the relay publish a message.
func (s *shop) order(customer, total string) {
	s.t.Helper()
	s.exec(`INSERT INTO outbox (topic, key, payload)
		VALUES ('orders.created', $1::text, json_build_object('customer', $1::text, 'total', $2::text::numeric))`, customer, total)
}

// replay has the customer's message published again, until the broker has the copy:
// JetStream drops one that comes within its duplicate window.
func (s *shop) replay(customer string, arrived func() bool) {
	s.t.Helper()
	next := time.Now()
	await.Until(s.t, "the replayed message has arrived", func() bool {
		if arrived() {
			return true
		}
		if time.Now().After(next) && s.count("SELECT count(*) FROM outbox WHERE key = $1 AND sent_at IS NOT NULL", customer) == 1 {
			s.exec("UPDATE outbox SET sent_at = NULL, dead_at = now() WHERE key = $1", customer)
			s.exec("SELECT outbox_replay(id) FROM outbox WHERE key = $1", customer)
			next = time.Now().Add(time.Second)
		}
		return false
	})
}

// revenue is what the customer has spent, by the consumer's table.
func (s *shop) revenue(customer string) (total string) {
	s.t.Helper()
	const sql = "SELECT coalesce((SELECT total::text FROM revenue WHERE customer = $1), '')"
	if err := s.conn.QueryRow(s.t.Context(), sql, customer).Scan(&total); err != nil {
		s.t.Fatal(err)
	}
	return total
}

func (s *shop) awaitRevenue(customer, total string) {
	s.t.Helper()
	await.Until(s.t, "the order of "+customer+" has its effect", func() bool { return s.revenue(customer) == total })
}
