-- Has the dead rows of a page sent again, as if they had never been tried.
WITH {{template "dead_free" .}}, changed AS (
	UPDATE {{.Table}} AS o
	SET dead_at = NULL, available_at = NULL, attempts = 0, first_attempt_at = NULL
	FROM free AS m
	WHERE {{template "same_row"}}
	RETURNING o.id
), {{template "dead_told"}}
{{template "dead_done"}}
