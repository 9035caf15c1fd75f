-- How a session reaches the server: which of its processes works for it, and since when
-- that has been asked. Besides, whether the process of another client has been used since
-- that client asked. All in a transaction of its own, whose settings last no longer: the
-- role's statement_timeout could end it, and its search_path could give it other functions.
SET LOCAL statement_timeout = 0;
SET LOCAL search_path = pg_catalog, pg_temp;
SELECT pg_backend_pid()::bigint AS backend, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS asked,
	host(inet_server_addr()) AS host, inet_server_port() AS port,
	EXISTS (
		SELECT FROM pg_stat_activity
		WHERE pid = @other::bigint AND (extract(epoch FROM query_start) * 1000000)::bigint > @other_asked::bigint
	) AS other_used
