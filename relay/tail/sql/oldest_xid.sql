-- The oldest transaction id that was open when this statement began.
SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text AS xid
