-- What a session that builds an index is doing.
SELECT phase, CASE WHEN blocks_total > 0 THEN blocks_done * 100 / blocks_total WHEN tuples_total > 0 THEN tuples_done * 100 / tuples_total END AS percent
FROM pg_stat_progress_create_index WHERE pid = @pid::integer
