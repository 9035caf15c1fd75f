package postgres

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// List returns the rows of a page, in the order of their ids, the cursor to continue
// after, and whether there are no further dead rows.
func (d *DeadLetters) List(ctx context.Context, p relay.DeadPage) (rows []relay.DeadRow, cursor int64, end bool, err error) {
	cursor = p.After
	examined := 0
	err = d.query(ctx, readDeadline, d.statements(p.Filter).list, pageArgs(p, d.channel), func(c *columns) func([][]byte) {
		read, id, matches := readDeadRow(c), c.at("id"), c.at("matches")
		return func(row [][]byte) {
			examined++
			if len(rows) == p.Most {
				return
			}
			cursor = int64Of(row[id])
			if boolOf(row[matches]) {
				rows = append(rows, read(row))
			}
		}
	})
	if err != nil {
		return nil, 0, false, d.explain("list dead rows", err)
	}
	return rows, cursor, examined < p.Rows, nil
}

func readDeadRow(c *columns) func([][]byte) relay.DeadRow {
	ref, topic, key, attempts := readRef(c), c.at("topic"), c.at("key"), c.at("attempts")
	created, first, dead := c.at("created_at"), c.at("first_attempt_at"), c.at("dead_at")
	lastError, errorType := c.at("last_error"), c.at("error_type")
	return func(row [][]byte) relay.DeadRow {
		r := relay.DeadRow{
			Ref: ref(row), Topic: string(row[topic]), Attempts: int(int32Of(row[attempts])),
			CreatedAt: instantOf(row[created]), FirstAttemptAt: instantOf(row[first]), DeadAt: instantOf(row[dead]),
			ErrorType: string(row[errorType]), LastError: string(row[lastError]),
		}
		if row[key] != nil {
			text := string(row[key])
			r.Key = &text
		}
		return r
	}
}

// instantOf is the zero time for NULL.
func instantOf(b []byte) time.Time {
	if b == nil {
		return time.Time{}
	}
	return instant(int64Of(b))
}

// Summarise counts the rows of a page by topic and kind of error. The sum of the groups
// is at most [relay.DeadPage.Most].
func (d *DeadLetters) Summarise(ctx context.Context, p relay.DeadPage) (groups []relay.DeadGroup, cursor int64, end bool, err error) {
	cursor = p.After
	err = d.query(ctx, readDeadline, d.statements(p.Filter).summary, pageArgs(p, d.channel), func(c *columns) func([][]byte) {
		examined, at := c.at("examined"), c.at("cursor")
		topic, errorType, rows := c.at("topic"), c.at("error_type"), c.at("rows")
		first, last, text := c.at("first"), c.at("last"), c.at("error")
		return func(row [][]byte) {
			end = int64Of(row[examined]) < int64(p.Rows)
			if row[at] != nil {
				cursor = int64Of(row[at])
			}
			if n := int64Of(row[rows]); n > 0 {
				groups = append(groups, relay.DeadGroup{
					Topic: string(row[topic]), ErrorType: string(row[errorType]), Rows: n,
					First: instantOf(row[first]), Last: instantOf(row[last]), Error: string(row[text]),
				})
			}
		}
	})
	if err != nil {
		return nil, 0, false, d.explain("count dead rows", err)
	}
	return groups, cursor, end, nil
}

// Show returns the rows with these ids, those that there are, dead or not.
func (d *DeadLetters) Show(ctx context.Context, ids []int64) ([]relay.WholeRow, error) {
	var rows []relay.WholeRow
	err := d.query(ctx, readDeadline, d.show, filterArgs(relay.DeadFilter{IDs: ids}), func(c *columns) func([][]byte) {
		read, available, sent, letter := readDeadRow(c), c.at("available_at"), c.at("sent_at"), c.at("dead_letter_at")
		contentType, headers, payload, length := c.at("content_type"), c.at("headers"), c.at("payload"), c.at("payload_bytes")
		return func(row [][]byte) {
			r := relay.WholeRow{
				DeadRow:     read(row),
				AvailableAt: instantOf(row[available]), SentAt: instantOf(row[sent]), DeadLetterAt: instantOf(row[letter]),
				ContentType: string(row[contentType]), Headers: copied(row[headers]), Payload: copied(row[payload]),
			}
			if row[length] != nil {
				r.PayloadBytes = int64Of(row[length])
			}
			rows = append(rows, r)
		}
	})
	if err != nil {
		return nil, d.explain("show rows", err)
	}
	return rows, nil
}

// copied is a value that outlives the statement.
func copied(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
