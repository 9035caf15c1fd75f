package postgres

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// maxReason bounds last_error, in bytes.
const maxReason = 2048

// maxInterval keeps a nonsensical delay or age within what an interval and a
// timestamp can hold.
const maxInterval = 100 * 365 * 24 * time.Hour

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
	refuse := c.writes.refuse
	if again {
		refuse = c.writes.refuseAnywhere
	}
	verdicts, leftOut, err := execute(ctx, c, refuse, c.refuseArgs(limit, refusals), readVerdict)
	if err != nil {
		return nil, c.explainWrite("write refusals", err)
	}
	if len(verdicts) == len(refusals) {
		return verdicts, nil
	}
	done := make(map[relay.Ref]struct{}, len(verdicts))
	for _, v := range verdicts {
		done[v.Ref] = struct{}{}
	}
	gone, free, err := c.settled(ctx, c.writes.unrefused, missingFrom(len(refusals), row, done), leftOut)
	if err != nil {
		return verdicts, c.explainWrite("look up refused rows", err)
	}
	for _, r := range gone {
		verdicts = append(verdicts, relay.Verdict{Ref: r, Fate: relay.Gone})
	}
	switch {
	case len(free) == 0:
		return verdicts, nil
	case again:
		return verdicts, c.suppressed(free)
	}
	more, err := c.refuseAgain(ctx, limit, pick(refusals, setOf(free), func(r relay.Refusal) relay.Ref { return r.Ref }), true)
	return append(verdicts, more...), err
}

func (c *control) refuseArgs(limit relay.AttemptLimit, refusals []relay.Refusal) args {
	n := len(refusals)
	reasons, types, delays := newArray(oidText, n, 80), newArray(oidText, n, 16), newArray(oidInt8, n, 8)
	finals, attempts := newArray(oidBool, n, 1), newArray(oidBool, n, 1)
	for _, r := range refusals {
		reasons.text(c.clean(r.Reason))
		types.text(string(r.Type))
		delays.int8(max(0, min(r.Delay, maxInterval)).Microseconds())
		finals.bool(r.Final)
		attempts.bool(!r.Uncounted)
	}
	batch := batchArgs(n, func(i int) relay.Ref { return refusals[i].Ref })
	batch["reasons"], batch["types"], batch["delays"], batch["finals"], batch["attempted"] = reasons.buf, types.buf, delays.buf, finals.buf, attempts.buf
	if c.layout.partitioned {
		batch.addLocation(n, func(i int) int64 { return refusals[i].ID }, func(i int) time.Time { return refusals[i].CreatedAt })
	}
	batch["limit"] = int8Param(int64(limit.Attempts))
	batch["age"] = int8Param(max(0, min(limit.Age, maxInterval)).Microseconds())
	return batch
}

// readVerdict reads what the refuse statement answers.
func readVerdict(c *columns) func([][]byte) relay.Verdict {
	ref, attempts, dead := readRef(c), c.at("attempts"), c.at("dead")
	return func(row [][]byte) relay.Verdict {
		v := relay.Verdict{Ref: ref(row), Fate: relay.Waiting, Attempts: int(int32Of(row[attempts]))}
		if boolOf(row[dead]) {
			v.Fate = relay.Dead
		}
		return v
	}
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
