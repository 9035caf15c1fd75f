package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Bounds of a verdict about a row that the server cannot read.
const (
	// unreadableTries are failures in a row, and unreadableFor how long they go on,
	// before a row is given up whose failure may be passing: a block that could not
	// be read, a limit that was too low for a moment.
	unreadableTries = 3
	unreadableFor   = 10 * time.Second
	// unreadablePause is how long such a row waits for the next try.
	unreadablePause = time.Second
	// maxUnreadable bounds the memory. Beyond it, and there the trouble is not one of
	// rows, all wait.
	maxUnreadable = 1000
)

// unreadable remembers the rows that the server has failed to read. It outlives a
// session. Safe for concurrent use.
type unreadable struct {
	mu   sync.Mutex
	rows map[relay.Ref]failure
}

type failure struct {
	tries int
	since time.Time
}

// isFinal notes that the server failed on a row, and says whether that is the last
// word. What a row contains stays as it is (SQLSTATE class 22); an internal error or
// a limit may pass, and a row that is declared dead stays dead.
func (u *unreadable) isFinal(ref relay.Ref, cause error, now time.Time) bool {
	if strings.HasPrefix(sqltext.Code(cause), "22") {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	f, known := u.rows[ref]
	// Failures long ago are another trouble's.
	if !known || now.Sub(f.since) > time.Duration(unreadableTries)*time.Minute {
		if len(u.rows) >= maxUnreadable && !known {
			u.forgetBefore(now.Add(-time.Minute))
			return false
		}
		f = failure{since: now}
	}
	f.tries++
	if u.rows == nil {
		u.rows = make(map[relay.Ref]failure)
	}
	u.rows[ref] = f
	if f.tries < unreadableTries || now.Sub(f.since) < unreadableFor {
		return false
	}
	delete(u.rows, ref)
	return true
}

func (u *unreadable) forgetBefore(t time.Time) {
	for ref, f := range u.rows {
		if f.since.Before(t) {
			delete(u.rows, ref)
		}
	}
}

// judge makes the row a defect, or has it wait for another try. What stands behind it
// waits with it.
func (u *unreadable) judge(row *relay.Row, cause error, now time.Time) {
	row.Size = relay.MessageOverhead
	if u.isFinal(row.Ref, cause, now) {
		row.Defect = fmt.Errorf("PostgreSQL cannot read the row: %s", serverWords(cause))
		return
	}
	row.Wait = unreadablePause
	row.Key = row.KeyName()
}

// readDefect reads the id of the row that the server fails on, and its key if the
// server can read that: the rows behind it have to wait until it is dead. The request is
// for the rows of all keys.
func (s *readSession) readDefect(ctx context.Context, req relay.ChunkRequest, cause error) (relay.Chunk, error) {
	kind, given, end := scanArgs(req, 1)
	chunk, err := s.readName(ctx, req, s.statements.name[kind.scheduled], given, cause)
	if isRowFault(err) {
		chunk, err = s.readName(ctx, req, s.statements.nameless[kind.scheduled], given, cause)
	}
	if err != nil {
		return relay.Chunk{}, s.explain("read the row that PostgreSQL fails on", err)
	}
	if len(chunk.Rows) == 0 && end != nil { // gone meanwhile
		chunk.Cursor = *end
	}
	return chunk, nil
}

func (s *readSession) readName(ctx context.Context, req relay.ChunkRequest, st statement, given args, cause error) (relay.Chunk, error) {
	chunk := relay.Chunk{Cursor: req.After}
	err := s.queryRows(ctx, st, given, func(c *columns) func([][]byte) {
		head, key := newDecoder(req).head(c), c.at("key")
		return func(row [][]byte) {
			var v relay.RowValues
			head(row, &v)
			m := &relay.Message{Ref: v.Ref, CreatedAt: v.CreatedAt, Attempts: v.Attempts, Key: string(row[key]), Keyed: row[key] != nil}
			found := relay.Row{Message: m}
			s.unreadable.judge(&found, cause, time.Now())
			chunk.Rows = append(chunk.Rows, found)
			chunk.Cursor = m.ID
		}
	})
	return chunk, err
}
