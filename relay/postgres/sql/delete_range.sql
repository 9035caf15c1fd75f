-- Deletes acknowledged rows whose ids are close together. See mark_range.sql.
DELETE FROM {{.Table}} AS o
WHERE {{template "same_row_of_range"}}{{template "between" .}}
RETURNING o.id, {{template "message_id"}} AS message_id
