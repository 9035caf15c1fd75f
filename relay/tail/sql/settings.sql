-- The server's settings that reading the log needs. The relay's own slots and walsenders
-- do not count: they are there while it reads.
SELECT current_setting('wal_level') AS wal_level,
	current_setting('max_replication_slots')::int AS most_slots,
	(SELECT count(*) FROM pg_replication_slots WHERE NOT (temporary AND starts_with(slot_name, 'outbox_relay'))) AS slots,
	current_setting('max_wal_senders')::int AS most_senders,
	(SELECT count(*) FROM pg_stat_replication WHERE NOT starts_with(coalesce(application_name, ''), 'outbox-relay ')) AS senders,
	current_setting('synchronous_standby_names') AS standbys,
	{{template "passes_for_standby"}} AS passes_for_standby
