-- Whether the role may replicate. On Amazon RDS a membership gives that right.
SELECT rolreplication OR rolsuper OR EXISTS (
	SELECT FROM pg_roles AS cloud WHERE cloud.rolname = 'rds_replication' AND pg_has_role(r.oid, cloud.oid, 'MEMBER')
) AS replicates
FROM pg_roles AS r WHERE rolname = current_user
