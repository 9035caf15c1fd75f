package postgres

import (
	"context"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay"
)

var _ relay.DeadLetters = (*letters)(nil)

// letters is the session that reads dead rows for their copies.
type letters struct {
	*session
	owed, letter, copied statement
}

// OpenDeadLetters opens the session that reads dead rows for the dead-letter topic.
func (d *Database) OpenDeadLetters(ctx context.Context, leader relay.Control) (relay.DeadLetters, error) {
	c, ok := leader.(*control)
	if !ok {
		return nil, fmt.Errorf("open the session of dead letters: the control session is a %T, not one of this package", leader)
	}
	s, err := d.openVia(ctx, c.sameRoute, purgeSettings)
	if err != nil {
		return nil, err
	}
	l, err := s.newLetters(ctx, c)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("open the session of dead letters: %w", err)
	}
	return l, nil
}

func (s *session) newLetters(ctx context.Context, c *control) (*letters, error) {
	if err := c.checkLeader(ctx, s.pg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	t, err := s.lookUpTable(ctx)
	if err != nil {
		return nil, err
	}
	columns, err := s.lookUpColumns(ctx, t.OID)
	if err != nil {
		return nil, err
	}
	if !newLater(columns).deadLetter {
		return nil, &flaw{
			found:  "OUTBOX_DEAD_LETTER_TOPIC needs the column dead_letter_at, which the table lacks or the role may not write",
			advice: "run outbox-relay migrate",
			fix:    fixMigrate,
		}
	}
	blanks := newDeadBlanks(s.table, columns)
	return &letters{
		session: s, owed: newStatement("owed", "", blanks), letter: newStatement("letter", "", blanks), copied: newStatement("copied", "", blanks),
	}, nil
}

// Owed returns which of the next dead rows owe a copy, and how far it has looked.
func (l *letters) Owed(ctx context.Context, after int64, rows int) (owed []relay.Ref, cursor int64, end bool, err error) {
	cursor = after
	seen := 0
	given := args{"after": int8Param(after), "rows": int8Param(int64(rows))}
	err = l.query(ctx, readDeadline, l.owed, given, func(c *columns) func([][]byte) {
		ref, owes := readRef(c), c.at("owed")
		return func(row [][]byte) {
			seen++
			r := ref(row)
			cursor = r.ID
			if boolOf(row[owes]) {
				owed = append(owed, r)
			}
		}
	})
	if err != nil {
		return nil, 0, false, l.explain("look for dead rows without a copy", err)
	}
	return owed, cursor, seen < rows, nil
}

// Letter reads a dead row; false: it is dead no more.
func (l *letters) Letter(ctx context.Context, r relay.Ref, longest int64) (letter relay.DeadLetter, found bool, err error) {
	given := batchArgs(1, func(int) relay.Ref { return r })
	given["longest"] = int8Param(relay.PayloadLimit(longest))
	err = l.query(ctx, readDeadline, l.letter, given, func(c *columns) func([][]byte) {
		read, contentType, headers, payload := readDeadRow(c), c.at("content_type"), c.at("headers"), c.at("payload")
		return func(row [][]byte) {
			d := read(row)
			found = true
			letter = relay.DeadLetter{
				Ref: d.Ref, Topic: d.Topic, Key: d.Key, ContentType: string(row[contentType]), Headers: copied(row[headers]), Payload: copied(row[payload]),
				CreatedAt: d.CreatedAt, DeadAt: d.DeadAt, Attempts: d.Attempts, ErrorType: relay.ErrorType(d.ErrorType), LastError: d.LastError,
			}
		}
	})
	if err != nil {
		return relay.DeadLetter{}, false, l.explain("read a dead row", err)
	}
	return letter, found, nil
}

// Copied notes that the copy of this death was acknowledged, unless somebody has the row
// locked.
func (l *letters) Copied(ctx context.Context, d relay.DeadLetter) (noted bool, err error) {
	given := batchArgs(1, func(int) relay.Ref { return d.Ref })
	given["dead"] = instantParam(d.DeadAt)
	err = l.query(ctx, writeDeadline, l.copied, given, func(c *columns) func([][]byte) {
		at := c.at("noted")
		return func(row [][]byte) { noted = boolOf(row[at]) }
	})
	if err != nil {
		return false, l.explain("note the copy of a dead row", err)
	}
	return noted, nil
}

// Close ends the session.
func (l *letters) Close() { l.close() }
