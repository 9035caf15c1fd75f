package docs_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// handOver is a transaction of docs/migrating.md, beside writers. The old tool is a slot
// and a publication: what they send is what it delivers.
type handOver struct {
	t     *testing.T
	url   string
	conn  *pgx.Conn
	write string // a row with the token $1
}

// Each committed row is sent by the old slot or is in the outbox, and none is on both
// sides.
func TestDocumentedHandOverLosesAndDoublesNothing(t *testing.T) {
	const (
		orders = `CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, token text NOT NULL)`
		outbox = `CREATE TABLE outboxevent (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype text NOT NULL,
			aggregateid text NOT NULL, type text NOT NULL, payload jsonb)`
		writeOrder = `INSERT INTO orders (token) VALUES ($1)`
		writeEvent = `INSERT INTO outboxevent (id, aggregatetype, aggregateid, type, payload)
			VALUES (gen_random_uuid(), 'orders', '42', 'OrderCreated', jsonb_build_object('token', $1::text))`
	)
	for name, c := range map[string]struct {
		block, table, publication, write string
		edit                             []string
	}{
		"a table": {"sql hand-over of a table", orders, "FOR TABLE orders", writeOrder, nil},
		"a table among all": {
			"sql hand-over of a table", orders, "FOR ALL TABLES", writeOrder,
			[]string{"ALTER PUBLICATION the_old_publication DROP TABLE orders;", "DROP PUBLICATION the_old_publication;"},
		},
		"an outbox": {"sql hand-over of an outbox", outbox, "FOR TABLE outboxevent", writeEvent, []string{"TO shop", "TO PUBLIC"}},
	} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t)
			h := &handOver{t: t, url: url, conn: pgtest.Connect(t, url), write: c.write}
			h.prepare(c.table, c.publication)
			defer h.exec("SELECT pg_drop_replication_slot('old_' || current_database())")
			committed := h.writeAround(h.block(c.block, c.edit...))
			h.judge(committed)
		})
	}
}

// prepare makes the old tool's table, publication and slot, and the new outbox.
func (h *handOver) prepare(table, publication string) {
	h.t.Helper()
	outbox, err := schema.ParseTable("public.outbox")
	if err != nil {
		h.t.Fatal(err)
	}
	h.exec(table)
	h.exec("CREATE PUBLICATION the_old_publication " + publication)
	h.exec(schema.SQL(schema.Options{Table: outbox}))
	h.exec("SELECT pg_create_logical_replication_slot('old_' || current_database(), 'pgoutput')")
}

// block is a block of the page, edited as the page says. It notes where it is in the log.
func (h *handOver) block(info string, edit ...string) string {
	h.t.Helper()
	edit = append(edit, "COMMIT;", "CREATE TABLE border AS SELECT pg_current_wal_insert_lsn()::text AS lsn;\nCOMMIT;")
	for _, found := range fence.FindAllStringSubmatch(read(h.t, "docs/migrating.md"), -1) {
		if found[1] != info {
			continue
		}
		text := found[2]
		for i := 0; i+1 < len(edit); i += 2 {
			if strings.Count(text, edit[i]) != 1 {
				h.t.Fatalf("%q stands %d times in the block %q, want once", edit[i], strings.Count(text, edit[i]), info)
			}
			text = strings.Replace(text, edit[i], edit[i+1], 1)
		}
		return text
	}
	h.t.Fatalf("docs/migrating.md has no block %q", info)
	return ""
}

// writeAround has writers commit rows before, while and after the block runs. It returns
// the tokens of the committed ones.
func (h *handOver) writeAround(block string) (committed []string) {
	h.t.Helper()
	const writers, enough = 4, 200
	var (
		writing sync.WaitGroup
		written atomic.Int64
		stop    atomic.Bool
		tokens  [writers][]string
	)
	for w := range writers {
		conn := pgtest.Connect(h.t, h.url)
		writing.Go(func() {
			for !stop.Load() {
				token := fmt.Sprintf("token-%d-%06d;", w, len(tokens[w]))
				if _, err := conn.Exec(h.t.Context(), h.write, token); err != nil {
					h.t.Errorf("a writer was disturbed: %v", err)
					return
				}
				tokens[w] = append(tokens[w], token)
				written.Add(1)
			}
		})
	}
	await.Until(h.t, "rows from before", func() bool { return written.Load() > enough })
	h.handOver(block)
	border := written.Load()
	await.Until(h.t, "rows from after", func() bool { return written.Load() > border+enough })
	stop.Store(true)
	writing.Wait()
	for _, some := range tokens {
		committed = append(committed, some...)
	}
	return committed
}

// handOver runs the block until it has its locks in the time that it allows itself, as the
// page says.
func (h *handOver) handOver(block string) {
	h.t.Helper()
	await.Until(h.t, "the block has its locks", func() bool {
		_, err := h.conn.Exec(h.t.Context(), block)
		if sqltext.Code(err) == "55P03" {
			h.exec("ROLLBACK")
			return false
		}
		if err != nil {
			h.t.Fatalf("%s: %v", block, err)
		}
		return true
	})
}

// judge counts on which side each token is.
func (h *handOver) judge(committed []string) {
	h.t.Helper()
	before, after := tokensIn(h.sent()), tokensIn(h.texts(`SELECT payload::text FROM outbox`))
	if len(before) == 0 || len(after) == 0 {
		h.t.Errorf("%d rows came before, %d after: want some of both", len(before), len(after))
	}
	wrong := slices.DeleteFunc(slices.Clone(committed), func(token string) bool { return before[token]+after[token] == 1 })
	for _, token := range wrong[:min(len(wrong), 5)] {
		h.t.Errorf("%s was sent %d times by the old tool, and is %d times in the outbox; so are %d", token, before[token], after[token], len(wrong))
	}
	if n := len(before) + len(after); n != len(committed) {
		h.t.Errorf("%d rows are on one side or the other, %d were committed", n, len(committed))
	}
}

// sent is what the slot sends to the old tool. Once its publication is gone, that ends
// with an error (PostgreSQL 18 has none, and sends nothing).
func (h *handOver) sent() []string {
	h.t.Helper()
	const changes = `SELECT encode(data, 'escape') FROM pg_logical_slot_get_binary_changes(
		'old_' || current_database(), (SELECT lsn::pg_lsn FROM border), NULL, 'proto_version', '1', 'publication_names', 'the_old_publication')`
	found := h.texts(changes)
	rows, err := h.conn.Query(h.t.Context(), strings.Replace(changes, "(SELECT lsn::pg_lsn FROM border)", "NULL", 1))
	if err != nil {
		h.t.Fatal(err)
	}
	rest, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil && !strings.Contains(err.Error(), `publication "the_old_publication" does not exist`) {
		h.t.Fatal(err)
	}
	return append(found, rest...)
}

func (h *handOver) texts(sql string) []string {
	h.t.Helper()
	rows, err := h.conn.Query(h.t.Context(), sql)
	if err != nil {
		h.t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		h.t.Fatalf("%s: %v", sql, err)
	}
	return found
}

func (h *handOver) exec(sql string) {
	h.t.Helper()
	if _, err := h.conn.Exec(h.t.Context(), sql); err != nil {
		h.t.Fatalf("%s: %v", sql, err)
	}
}

var tokenForm = regexp.MustCompile(`token-\d-\d{6};`)

func tokensIn(texts []string) map[string]int {
	found := map[string]int{}
	for _, text := range texts {
		for _, token := range tokenForm.FindAllString(text, -1) {
			found[token]++
		}
	}
	return found
}
