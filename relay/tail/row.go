package tail

import (
	"fmt"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay"
)

// describeRow fills in the fields of a Row event. limit is the longest payload that is
// read, in bytes.
func (d *decoder) describeRow(ev *Event, t *tuple, limit int64) error {
	v, err := t.row()
	if err != nil {
		return err
	}
	available, err := t.instant(columnAvailableAt, beginningOfTime)
	if err != nil {
		return err
	}
	ev.Pending = !t.values[columnSentAt].Set && !t.values[columnDeadAt].Set
	ev.Due = available <= d.committed
	if !ev.Due {
		ev.AvailableAt = available.time()
	}
	v.DueSince = d.committed.time()
	ev.Message = &relay.Message{}
	d.rows.Read(ev.Message, &v, ev.Pending && ev.Due, limit)
	return nil
}

// row reads the columns that are not text.
func (t *tuple) row() (relay.RowValues, error) {
	v := relay.RowValues{
		Topic: t.values[columnTopic], Key: t.values[columnKey], ContentType: t.values[columnContentType],
		Headers: t.values[columnHeaders], Payload: t.values[columnPayload],
	}
	var err error
	if !t.values[columnID].Set {
		return v, &UnavailableError{
			Reason: ReasonShape,
			Text:   "a row without an id was inserted, and no statement can refer to it: give the table its primary key back, and the row an id",
		}
	}
	if v.ID, err = strconv.ParseInt(string(t.values[columnID].Bytes), 10, 64); err != nil {
		return v, fmt.Errorf("%w: column id is not a number", ErrProtocol)
	}
	if id := t.values[columnMessageID]; id.Set {
		if v.MessageID, err = relay.ReadMessageID(id.Bytes); err != nil {
			return v, fmt.Errorf("%w: column message_id is not a uuid", ErrProtocol)
		}
	}
	if attempts := t.values[columnAttempts]; attempts.Set {
		if v.Attempts, err = strconv.Atoi(string(attempts.Bytes)); err != nil {
			return v, fmt.Errorf("%w: column attempts is not a number", ErrProtocol)
		}
	}
	created, err := t.instant(columnCreatedAt, beginningOfTime)
	v.CreatedAt = created.time()
	return v, err
}

// instant reads a timestamp; missing stands for NULL.
func (t *tuple) instant(c column, missing instant) (instant, error) {
	if !t.values[c].Set {
		return missing, nil
	}
	i, err := parseInstant(t.values[c].Bytes)
	if err != nil {
		return 0, fmt.Errorf("column %s: %w", c, err)
	}
	return i, nil
}
