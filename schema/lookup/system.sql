-- Which server this is. A physical copy of it has the same identifier.
SELECT system_identifier::text AS system FROM pg_control_system()
