-- The highest id. Where the rows have all been deleted, it is the last one of the table's own
-- sequence, if the role may read that.
SELECT coalesce(
	(SELECT id FROM {{.Table}} ORDER BY id DESC LIMIT 1),
	CASE WHEN has_sequence_privilege(own, 'USAGE, SELECT') THEN pg_sequence_last_value(own) END
) AS id
FROM (SELECT pg_get_serial_sequence(@table, 'id')::regclass AS own OFFSET 0) AS s
