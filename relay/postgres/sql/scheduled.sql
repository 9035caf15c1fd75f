-- Whether a scheduled row is due that was not when the pass began.
SELECT (SELECT true FROM {{.Table}} WHERE {{.ScheduledRows}} AND available_at <= @start::timestamptz LIMIT 1) IS NOT NULL AS due
