package oracle_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/schema"
)

// naive is the simplest relay that keeps its promises as long as nothing goes
// wrong: read, publish one by one, mark. Its hooks break one promise each.
type naive struct {
	db    *pgx.Conn
	js    jetstream.JetStream
	table schema.Table

	order   func(rows []naiveRow)       // after reading a batch
	publish func(m *nats.Msg) *nats.Msg // before publishing; nil keeps it back
	mark    string                      // SQL that settles a row; empty marks it
	forget  func(n int) bool            // whether to leave the n-th row unmarked
	count   int
	sent    map[string]bool
}

type naiveRow struct {
	id                            int64
	messageID, topic, contentType string
	key                           *string
	headers                       map[string]string
	payload                       []byte
}

// poll moves one batch and says whether there was anything to do.
func (n *naive) poll(ctx context.Context) (bool, error) {
	batch, err := n.read(ctx)
	if err != nil {
		return false, err
	}
	if n.order != nil {
		n.order(batch)
	}
	moved := false
	for _, row := range batch {
		if n.sent[row.messageID] { // only with forget: it would publish for ever
			continue
		}
		moved = true
		if err := n.move(ctx, row); err != nil {
			return false, err
		}
	}
	return moved, nil
}

func (n *naive) read(ctx context.Context) ([]naiveRow, error) {
	rows, err := n.db.Query(ctx, `SELECT id, message_id::text, topic, content_type, key, headers, convert_to(payload::text, 'UTF8')
		FROM `+n.table.Quoted()+` WHERE sent_at IS NULL AND dead_at IS NULL AND topic <> '' ORDER BY id LIMIT 200`)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (row naiveRow, err error) {
		return row, r.Scan(&row.id, &row.messageID, &row.topic, &row.contentType, &row.key, &row.headers, &row.payload)
	})
}

func (n *naive) move(ctx context.Context, row naiveRow) error {
	n.count++
	m := row.message()
	if n.publish != nil {
		m = n.publish(m)
	}
	if m != nil {
		if _, err := n.js.PublishMsg(ctx, m); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	if n.forget != nil && n.forget(n.count) {
		n.sent[row.messageID] = true
		return nil
	}
	settle := n.mark
	if settle == "" {
		settle = `UPDATE ` + n.table.Quoted() + ` SET sent_at = now() WHERE id = $1`
	}
	// A TRUNCATE that restarts the ids gives this id to another row.
	if _, err := n.db.Exec(ctx, settle+` AND message_id = $2`, row.id, row.messageID); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return nil
}

func (r naiveRow) message() *nats.Msg {
	m := &nats.Msg{Subject: r.topic, Data: r.payload, Header: nats.Header{
		"Nats-Msg-Id": {r.messageID}, "Content-Type": {r.contentType},
	}}
	if r.key != nil {
		m.Header["Outbox-Key"] = []string{*r.key}
	}
	for name, value := range r.headers {
		m.Header[name] = []string{value}
	}
	return m
}

// compacted is what a relay does that decodes payloads and encodes them again.
func compacted(m *nats.Msg) *nats.Msg {
	var b bytes.Buffer
	if err := json.Compact(&b, m.Data); err != nil {
		return m
	}
	m.Data = b.Bytes()
	return m
}

// newestFirst is what a relay does that publishes a batch with several workers,
// in the worst case.
func newestFirst(rows []naiveRow) {
	slices.SortFunc(rows, func(a, b naiveRow) int { return int(b.id - a.id) })
}
