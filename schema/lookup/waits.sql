-- Which sessions another one waits for, in words.
SELECT {{template "session"}} AS session
FROM unnest(pg_blocking_pids(@pid::integer)) AS b (pid) LEFT JOIN pg_stat_activity AS a USING (pid)
GROUP BY a.pid, a.application_name
ORDER BY min(a.xact_start) LIMIT 5
