-- Whether the server takes writes of this session.
SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only
