-- Deletes the dead rows of a page. A key that one of them has blocked goes on.
WITH {{template "dead_free" .}}, changed AS (
	DELETE FROM {{.Table}} AS o
	USING free AS m
	WHERE {{template "same_row"}}
	RETURNING o.id
), {{template "dead_told"}}
{{template "dead_done"}}
