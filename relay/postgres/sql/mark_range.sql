-- Sets sent_at of acknowledged rows whose ids are close together: one walk along the
-- primary key instead of a look-up for each row. message_ids has an element for each id
-- from the lowest to the highest, where an id is not in the batch one that no row has.
UPDATE {{.Table}} AS o
SET sent_at = now(), dead_at = NULL
WHERE {{template "same_row_of_range"}} AND {{template "unsent"}}{{template "between" .}}
RETURNING o.id, {{template "message_id"}} AS message_id
