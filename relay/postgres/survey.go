package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// codeFailedTransaction: a statement after the one that the server failed on.
const codeFailedTransaction = "25P02"

// Survey reads all there is to do as one snapshot sees it: a transaction that
// reads chunk by chunk, and waits for nothing in between. Where the server fails
// on a row, passes have to find out which.
func (s *sweep) Survey(ctx context.Context, req relay.ChunkRequest) (relay.Survey, error) {
	survey, err := s.survey(ctx, req)
	if isOutdated(err) {
		s.forget(ctx)
		if err := s.describe(ctx); err != nil {
			return relay.Survey{}, err
		}
		survey, err = s.survey(ctx, req)
	}
	switch {
	case isRowFault(err), codeOf(err) == codeFailedTransaction:
		return relay.Survey{}, nil
	case err != nil:
		if errors.Is(err, context.DeadlineExceeded) {
			s.pace.tooSlow()
		}
		return relay.Survey{}, s.explain("read the due rows", err)
	}
	return survey, nil
}

// surveyDeadline is for the whole of a survey: the log is not read meanwhile, and
// a tail that is not read for so long has been left.
const surveyDeadline = 10 * time.Second

// survey leaves no transaction behind, unless the session is broken.
//
// The lock comes before the snapshot, which LOCK does not take. Schedule that
// reorders: ALTER TABLE rewrites the table; the snapshot is taken, and waits with
// its statement for the lock; to a snapshot older than the rewrite the table is
// empty, and all that it "sees" would be skipped in the log.
func (s *sweep) survey(ctx context.Context, req relay.ChunkRequest) (relay.Survey, error) {
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

func (s *sweep) run(ctx context.Context, sql string) error {
	if s.pg.IsClosed() {
		return errClosed
	}
	return s.pg.Exec(ctx, sql).Close()
}

// readAll reads within the survey's transaction.
func (s *sweep) readAll(ctx context.Context, req relay.ChunkRequest) (relay.Survey, error) {
	survey, pass, err := s.frame(ctx)
	if err != nil {
		return survey, err
	}
	rows, bytes := req.Rows, req.Bytes
	req.Pass, req.After = pass, beforeAllIDs
	for {
		req.Rows, req.Bytes = rows-len(survey.Rows), bytes
		if req.Rows <= 0 {
			return relay.Survey{}, nil
		}
		chunk, err := s.read(ctx, req, s.pace.rows(req))
		if err != nil {
			return survey, err
		}
		for _, row := range chunk.Rows {
			bytes -= row.Size
		}
		survey.Rows = append(survey.Rows, chunk.Rows...)
		switch {
		case chunk.Done:
			survey.Complete = true
			return survey, nil
		case chunk.NextSize > 0, chunk.Cursor == req.After: // more than fits
			return relay.Survey{}, nil
		}
		req.After = chunk.Cursor
	}
}

// beforeAllIDs is a cursor.
const beforeAllIDs = -1 << 63

// frame takes the survey's snapshot, and looks up what goes with it. The position
// is read while the statement runs, and so after its snapshot was taken.
func (s *sweep) frame(ctx context.Context) (relay.Survey, relay.Pass, error) {
	table := s.table.Quoted()
	scheduled := `FROM ` + table + ` WHERE ` + isScheduled + ` AND available_at`
	frame := statement{name: "frame", formats: binaryFormat, sql: `SELECT
		coalesce((SELECT max(id) FROM ` + table + `), 0), statement_timestamp(),
		EXISTS (SELECT ` + scheduled + ` <= statement_timestamp()),
		(SELECT min(available_at) ` + scheduled + ` > statement_timestamp() AND available_at < 'infinity'),
		pg_current_snapshot()::text, pg_current_wal_insert_lsn() - '0/0'::pg_lsn,
		current_setting('synchronous_standby_names') <> ''`}
	frame.sql = `SELECT bound, start, due, next, snapshot, position::int8, synchronous FROM (` + frame.sql +
		`) AS f (bound, start, due, next, snapshot, position, synchronous)`
	var survey relay.Survey
	var pass relay.Pass
	var parseErr error
	err := s.try(ctx, frame, nil, func(row [][]byte) {
		start := int64Of(row[1])
		pass = relay.Pass{Bound: int64Of(row[0]), Start: instant(start), Scheduled: row[2][0] != 0}
		if row[3] != nil {
			d := decoder{start: start}
			survey.NextScheduled = d.wait(row[3])
		}
		survey.Snapshot, parseErr = wal.ParseSnapshot(string(row[4]))
		survey.Position = wal.LSN(binary.BigEndian.Uint64(row[5]))
		survey.Synchronous = row[6][0] != 0
	})
	return survey, pass, errors.Join(err, parseErr)
}
