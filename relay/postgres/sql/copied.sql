-- Notes that the copy of this death was acknowledged. A row that has been replayed since,
-- or has died again, is left alone, and nothing is left to note. One that somebody has
-- locked is left for later.
WITH same AS MATERIALIZED (
	SELECT o.id, {{template "message_id"}} AS message_id
	FROM unnest(@ids::bigint[], @message_ids::uuid[]) AS m (id, message_id)
	JOIN {{.Table}} AS o ON {{template "same_row"}} AND (o.dead_at = @dead::timestamptz) IS TRUE
), free AS MATERIALIZED (
	SELECT m.id, m.message_id FROM same AS m JOIN {{.Table}} AS o ON {{template "same_row"}} AND (o.dead_at = @dead::timestamptz) IS TRUE
	FOR NO KEY UPDATE OF o SKIP LOCKED
), changed AS (
	UPDATE {{.Table}} AS o SET dead_letter_at = greatest(now(), o.dead_at)
	FROM free AS m
	WHERE {{template "same_row"}} AND (o.dead_at = @dead::timestamptz) IS TRUE
	RETURNING o.id
)
SELECT (SELECT count(*) FROM same) = (SELECT count(*) FROM changed) AS noted
