-- Counts the rows of the index of due rows within runs of ids. Each run is one short scan of
-- the index: the LIMIT, which no run exceeds, keeps it one.
SELECT count(*) AS indexed,
	count(*) FILTER (WHERE available_at IS NULL OR available_at <= statement_timestamp()) AS due,
	count(*) FILTER (WHERE attempts > 0) AS refused
FROM unnest(@starts::bigint[]) AS run (start), LATERAL (
	SELECT available_at, attempts FROM {{.Table}}
	WHERE {{.Due}} AND id >= run.start AND id < run.start + @width::bigint
	ORDER BY id LIMIT @width::bigint
) AS o
