package postgres

import (
	"context"
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

// maxReason bounds last_error, in bytes.
const maxReason = 2048

// maxInterval keeps a nonsensical delay or age within what an interval and a
// timestamp can hold.
const maxInterval = 100 * 365 * 24 * time.Hour

const refuseBatch = `unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::boolean[]) AS m (id, message_id, reason, delay, final)`

// refuseUpdate counts a refusal. A row that is dead already stays dead.
//
// The commit has to be durable, on a session where others are not: set_config
// with is_local does for this transaction what SET LOCAL would in a round trip
// more.
func refuseUpdate(table schema.Table) write {
	set := `UPDATE ` + table.Quoted() + ` AS o SET
		attempts = least(o.attempts, 2147483646) + 1,
		last_error = m.reason,
		first_attempt_at = coalesce(o.first_attempt_at, now()),
		available_at = now() + m.delay * interval '1 microsecond',
		dead_at = CASE WHEN o.dead_at IS NOT NULL THEN o.dead_at
			WHEN m.final OR (o.attempts + 1::bigint >= $6::bigint
				AND coalesce(o.first_attempt_at, now()) <= now() - $7::bigint * interval '1 microsecond') THEN now() END
		FROM (SELECT set_config('synchronous_commit', 'on', true)) AS durable (setting), `
	where := ` WHERE ` + matching + ` AND o.sent_at IS NULL AND durable.setting IS NOT NULL` +
		returningRefs + `, o.attempts, o.dead_at IS NOT NULL`
	plain, patient := writeName("refuse")
	return write{
		plain: statement{name: plain, formats: binaryFormat, sql: set + refuseBatch + where},
		patient: statement{
			name: patient, formats: binaryFormat,
			sql: `WITH free AS MATERIALIZED (SELECT m.* FROM ` + refuseBatch +
				` JOIN ` + table.Quoted() + ` AS o ON ` + matching + ` AND o.sent_at IS NULL FOR NO KEY UPDATE OF o SKIP LOCKED) ` +
				set + `free AS m` + where,
		},
	}
}

// Refuse records refusals and returns what became of the rows.
func (c *control) Refuse(ctx context.Context, limit relay.AttemptLimit, refusals []relay.Refusal) ([]relay.Verdict, error) {
	return c.refuseAgain(ctx, limit, refusals, false)
}

func (c *control) refuseAgain(
	ctx context.Context, limit relay.AttemptLimit, refusals []relay.Refusal, again bool,
) ([]relay.Verdict, error) {
	if len(refusals) == 0 {
		return nil, nil
	}
	row := func(i int) absent { return absent{refusals[i].Ref, refusals[i].XID} }
	verdicts, leftOut, err := execute(ctx, c, c.writes.refuse, c.refuseParams(limit, refusals), verdictOf)
	if err != nil {
		return nil, c.explain("write refusals", err)
	}
	if len(verdicts) == len(refusals) {
		return verdicts, nil
	}
	done := make(map[relay.Ref]struct{}, len(verdicts))
	for _, v := range verdicts {
		done[v.Ref] = struct{}{}
	}
	gone, kept, err := c.settled(ctx, missingFrom(len(refusals), row, done), leftOut, again)
	if err != nil {
		return nil, c.explain("look up refused rows", err)
	}
	for _, r := range gone {
		verdicts = append(verdicts, relay.Verdict{Ref: r, Fate: relay.Gone})
	}
	if len(kept) == 0 {
		return verdicts, nil
	}
	more, err := c.refuseAgain(ctx, limit, pick(refusals, setOf(kept), func(r relay.Refusal) relay.Ref { return r.Ref }), true)
	return append(verdicts, more...), err
}

func (c *control) refuseParams(limit relay.AttemptLimit, refusals []relay.Refusal) [][]byte {
	n := len(refusals)
	reasons, delays, finals := newArray(oidText, n, 80), newArray(oidInt8, n, 8), newArray(oidBool, n, 1)
	for _, r := range refusals {
		reasons.text(c.clean(r.Reason))
		delays.int8(max(0, min(r.Delay, maxInterval)).Microseconds())
		finals.bool(r.Final)
	}
	params := refParamsOf(n, func(i int) relay.Ref { return refusals[i].Ref })
	return append(params, reasons.buf, delays.buf, finals.buf,
		int8Param(int64(limit.Attempts)), int8Param(max(0, min(limit.Age, maxInterval)).Microseconds()))
}

func verdictOf(row [][]byte) relay.Verdict {
	v := relay.Verdict{Ref: refOf(row), Fate: relay.Waiting, Attempts: int(binary.BigEndian.Uint32(row[2]))}
	if row[3][0] != 0 {
		v.Fate = relay.Dead
	}
	return v
}

// clean makes text fit for last_error: a batch must not fail for the words of a
// broker. PostgreSQL takes no NUL, no invalid UTF-8, and in a database with
// another encoding not every character.
func (c *control) clean(text string) string {
	text = strings.ToValidUTF8(cut(text, maxReason), "\ufffd")
	ascii := c.pg.ParameterStatus("server_encoding") != "UTF8"
	return strings.Map(func(r rune) rune {
		switch {
		case r == 0:
			return -1
		case ascii && r > math.MaxInt8:
			return '?'
		}
		return r
	}, text)
}
