-- Notes that the copy of this death was acknowledged. A row that has been replayed since,
-- or has died again, is left alone.
UPDATE {{.Table}} AS o
SET dead_letter_at = greatest(now(), o.dead_at)
FROM unnest((SELECT @ids::bigint[]), (SELECT @message_ids::uuid[])) AS m (id, message_id)
WHERE {{template "same_row"}} AND o.dead_at = @dead::timestamptz
RETURNING o.id
