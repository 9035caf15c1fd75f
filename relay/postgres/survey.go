package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// codeFailedTransaction: a statement after the one that the server failed on.
const codeFailedTransaction = "25P02"

// Survey reads all due and waiting rows as one snapshot sees them: a transaction that
// reads chunk by chunk, and waits for nothing in between. If the server fails on a row,
// the survey is not complete, and passes find out which row it is.
func (s *readSession) Survey(ctx context.Context, req relay.ChunkRequest) (relay.Survey, error) {
	survey, err := s.survey(ctx, req)
	if isOutdated(err) {
		s.forget(ctx)
		if err := s.describe(ctx); err != nil {
			return relay.Survey{}, err
		}
		survey, err = s.survey(ctx, req)
	}
	switch {
	case isRowFault(err), sqltext.Code(err) == codeFailedTransaction:
		return relay.Survey{}, nil
	case err != nil:
		if errors.Is(err, context.DeadlineExceeded) {
			s.pace.tooSlow()
		}
		return relay.Survey{}, s.explain("read the due rows", err)
	}
	return survey, nil
}

// surveyDeadline is for the whole survey. The log is not read meanwhile, and by then
// the tail has been left.
const surveyDeadline = 10 * time.Second

// survey leaves no transaction behind, unless the session is broken.
//
// The lock comes first, since LOCK takes no snapshot. Schedule that reorders without
// it: ALTER TABLE rewrites the table. A statement takes its snapshot and waits for the
// table's lock. To a snapshot older than the rewrite the table is empty. The survey
// brings no rows, and those that its snapshot sees are skipped in the log.
func (s *readSession) survey(ctx context.Context, req relay.ChunkRequest) (relay.Survey, error) {
	ctx, cancel := context.WithTimeout(ctx, surveyDeadline)
	defer cancel()
	begin := `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE ` + s.table.Quoted() + ` IN ACCESS SHARE MODE`
	if err := s.run(ctx, begin); err != nil {
		return relay.Survey{}, err
	}
	survey, err := s.readAll(ctx, req)
	if err != nil {
		return relay.Survey{}, errors.Join(err, s.run(ctx, `ROLLBACK`))
	}
	return survey, s.run(ctx, `COMMIT`)
}

func (s *readSession) run(ctx context.Context, sql string) error {
	if s.pg.IsClosed() {
		return errClosed
	}
	return s.pg.Exec(ctx, sql).Close()
}

// readAll reads within the survey's transaction.
func (s *readSession) readAll(ctx context.Context, req relay.ChunkRequest) (relay.Survey, error) {
	survey, pass, err := s.frame(ctx, req.Rows+1)
	if err != nil || len(pass.Scheduled) > req.Rows {
		return relay.Survey{}, err
	}
	blocked, all, err := s.blocked(ctx)
	if err != nil || !all {
		return relay.Survey{}, err
	}
	survey.Blocked = blocked
	survey.Frame = pass
	survey.Frame.Snapshot = survey.Snapshot
	rows, bytes := req.Rows, req.Bytes
	req.Pass, req.After = pass, beforeAllIDs
	share := keyShare{most: req.KeyRows, topics: maps.Clone(req.TopicRows)}
	excluded, leftBytes := req.ExcludeKeys, req.Bytes
	for {
		req.Rows, req.Bytes = rows-len(survey.Rows), bytes
		if req.Rows <= 0 || leftBytes <= 0 {
			return relay.Survey{}, nil
		}
		req.ExcludeKeys, req.TopicRows = append(slices.Clip(excluded), share.closed...), share.topics
		chunk, err := s.read(ctx, req, s.pace.rows(req))
		if err != nil {
			return survey, err
		}
		for _, row := range chunk.Rows {
			switch share.takes(row) {
			case shareTaken:
				bytes -= row.Size
				survey.Rows = append(survey.Rows, row)
			case shareLeft:
				left := relay.LeftRow{ID: row.ID, Key: row.KeyName()}
				leftBytes -= leftOverhead + int64(len(left.Key))
				survey.Left = append(survey.Left, left)
			case shareDropped:
			}
		}
		switch {
		case chunk.Done:
			survey.Complete, survey.Cut = true, share.cut
			return survey, nil
		case chunk.NextSize > 0, chunk.Cursor == req.After: // more than fits
			return relay.Survey{}, nil
		}
		req.After = chunk.Cursor
	}
}

// leftOverhead is what a [relay.LeftRow] costs in memory, beside its key.
const leftOverhead = 64

// keyShare bounds what a survey reads of one key, and of topics that are full. A
// million rows behind a head that waits for its retry, or that is due, would fill any
// buffer, and the survey would never be complete: of the former it needs none, and of
// the latter no more than the key's chain takes. The same is true of a topic.
type keyShare struct {
	most   int            // rows of a key; 0 for no bound, and no waiting behind others
	topics map[string]int // rows that are still wanted of topics, of which few are
	counts map[string]int // of the rows of each key
	closed []string       // the keys of which no more rows are read
	cut    map[string]int64
}

// maxClosed bounds the keys that go with every statement. Rows of further ones that have
// a row that is left come, and are the caller's to drop.
const maxClosed = 16_384

// shared is what a survey does with a row.
type shared uint8

const (
	shareTaken   shared = iota + 1 // it belongs to the survey
	shareLeft                      // only its names do
	shareDropped                   // it is read later
)

var sharedNames = [...]string{"", "taken", "left", "dropped"}

// String returns it in lower case.
func (s shared) String() string { return sharedNames[s] }

// takes says what to do with the row.
func (k *keyShare) takes(row relay.Row) shared {
	ordered := k.most > 0 && row.Keyed
	name := ""
	if ordered {
		if name = row.KeyName(); k.counts[name] >= k.most {
			return shareDropped
		}
	}
	switch {
	case row.Left || row.Wait == 0 && k.isFull(row.Topic):
		if !ordered {
			return shareDropped
		}
		if len(k.closed) < maxClosed {
			k.close(name)
		}
		return shareLeft
	case ordered && row.Wait > 0:
		k.close(name)
	case ordered:
		k.count(row, name)
	}
	return shareTaken
}

// isFull says whether no more rows of the topic are wanted, and counts this one if it is.
func (k *keyShare) isFull(topic string) bool {
	wanted, few := k.topics[topic]
	if few && wanted > 0 {
		k.topics[topic] = wanted - 1
	}
	return few && wanted <= 0
}

// count counts a row of the key.
func (k *keyShare) count(row relay.Row, name string) {
	k.set(name, k.counts[name]+1)
	if k.counts[name] == k.most {
		k.closed = append(k.closed, name)
		if k.cut == nil {
			k.cut = make(map[string]int64)
		}
		k.cut[name] = row.ID
	}
}

// close has no more rows of the key read.
func (k *keyShare) close(name string) {
	k.set(name, k.most)
	k.closed = append(k.closed, name)
}

func (k *keyShare) set(name string, count int) {
	if k.counts == nil {
		k.counts = make(map[string]int)
	}
	k.counts[name] = count
}

// beforeAllIDs is a cursor.
const beforeAllIDs = -1 << 63

// frame takes the survey's snapshot, and looks up what goes with it: scheduled is how
// many due rows that were scheduled are listed.
func (s *readSession) frame(ctx context.Context, scheduled int) (relay.Survey, relay.Pass, error) {
	var survey relay.Survey
	var pass relay.Pass
	var parseErr error
	err := s.try(ctx, s.statements.frame, args{"most": int8Param(int64(scheduled))}, func(c *columns) func([][]byte) {
		read, next, position, synchronous := readPass(c, &parseErr), c.at("next_scheduled"), c.at("position"), c.at("synchronous")
		return func(row [][]byte) {
			pass = read(row)
			d := decoder{start: microseconds(pass.Start)}
			survey.NextScheduled = d.wait(row[next])
			survey.Snapshot, pass.Snapshot = pass.Snapshot, wal.Snapshot{} // all of a survey is of one snapshot
			survey.Position = wal.LSN(int64Of(row[position]))
			survey.Synchronous = boolOf(row[synchronous])
		}
	})
	return survey, pass, errors.Join(err, parseErr)
}
