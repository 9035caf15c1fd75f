-- How many other sessions hold the lock.
SELECT count(*) AS sessions FROM pg_locks AS l WHERE l.pid <> pg_backend_pid() AND {{template "is_held"}}
