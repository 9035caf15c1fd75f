package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Draft is a row that a person writes.
type Draft struct {
	Topic   string
	Key     *string
	Payload []byte
	// ContentType, if empty, is the column's default.
	ContentType string
	Headers     map[string]string
	// AvailableAt, or Delay from now by PostgreSQL's clock; both zero: at once.
	AvailableAt time.Time
	Delay       time.Duration
}

// sendBlanks fill in send.sql.
type sendBlanks struct {
	Table       string
	ContentType bool
}

// codeInvalidText is PostgreSQL's word for a payload that is no JSON.
const codeInvalidText = "22P02"

// sendBatch is how many rows go to the server at once.
const sendBatch = 500

// Send inserts the row, as often as copies says, each time with a message id of its own:
// all of them, or none. It returns the ids. It needs INSERT on the table and nothing else.
// An error that a person has to fix wraps [relay.ErrSetup].
func (d *Database) Send(ctx context.Context, draft Draft, copies int) ([]relay.MessageID, error) {
	s, err := d.open(ctx, readSettings)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.checkWritable(ctx); err != nil {
		return nil, err
	}
	given, err := draft.args()
	if err != nil {
		return nil, err
	}
	st := newStatement("send", "", sendBlanks{Table: s.table.Quoted(), ContentType: draft.ContentType != ""})
	ids := make([]relay.MessageID, copies)
	err = pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error {
		// Prepared, so that the payload is sent as what the column is.
		if _, err := tx.Prepare(ctx, st.name, st.sql); err != nil {
			return err
		}
		for from := 0; from < copies; from += sendBatch {
			batch := &pgx.Batch{}
			for i := from; i < min(from+sendBatch, copies); i++ {
				ids[i] = newMessageID()
				given["message_id"] = [16]byte(ids[i])
				batch.Queue(st.name, valuesOf(st, given)...)
			}
			if err := tx.SendBatch(ctx, batch).Close(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.explainSend(err)
	}
	return ids, nil
}

// valuesOf returns the parameters in the statement's order.
func valuesOf(st statement, given sqltext.Args) []any {
	values := make([]any, len(st.params))
	for i, name := range st.params {
		values[i] = given[name]
	}
	return values
}

// args are the parameters that all copies share.
func (d Draft) args() (sqltext.Args, error) {
	headers := []byte("{}")
	if len(d.Headers) > 0 {
		var err error
		if headers, err = json.Marshal(d.Headers); err != nil {
			return nil, fmt.Errorf("encode headers: %w", err)
		}
	}
	given := sqltext.Args{"topic": d.Topic, "key": d.Key, "payload": d.Payload, "headers": headers, "at": nil, "seconds": nil}
	if !d.AvailableAt.IsZero() {
		given["at"] = d.AvailableAt
	}
	if d.Delay > 0 {
		given["seconds"] = d.Delay.Seconds()
	}
	if d.ContentType != "" {
		given["content_type"] = d.ContentType
	}
	return given, nil
}

// newMessageID is a random one, of version 4.
func newMessageID() (id relay.MessageID) {
	_, _ = rand.Read(id[:]) // it never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// explainSend says what a person has to do about a refused row.
func (s *session) explainSend(err error) error {
	switch sqltext.Code(err) {
	case codeInsufficientPrivilege:
		return setup(err, "the role may not insert rows: run, as the owner of the table: GRANT INSERT ON %s TO %s",
			s.table.Quoted(), sqltext.Identifier(s.conn.Config().User))
	case codeInvalidText:
		return fmt.Errorf("the payload is not what the column takes; text has to be JSON text, in double quotes: %w", err)
	}
	return s.explain("insert a row", err)
}
