-- The next dead rows, and of which of them a copy is owed to the dead-letter topic. A row
-- that has died again since its last copy owes another one.
SELECT o.id, {{template "message_id"}} AS message_id, isfinite(o.dead_at) AND (o.dead_letter_at IS NULL OR o.dead_letter_at < o.dead_at) AS owed
FROM {{.Table}} AS o
WHERE {{.Dead}} AND o.id > @after::bigint
ORDER BY o.id LIMIT @rows::bigint
