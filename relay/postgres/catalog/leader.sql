-- Whether this is the server of the control session, and whether that session holds the
-- lock here.
SELECT {{template "server_started"}} = @started::bigint AND {{template "server_address"}} = @address AS same_server,
	EXISTS (SELECT FROM pg_locks AS l WHERE l.mode = 'ExclusiveLock' AND l.pid = @backend::bigint AND {{template "is_held"}}) AS leads
