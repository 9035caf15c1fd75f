-- Whether a scheduled row is due that was not when the pass began.
SELECT EXISTS (SELECT FROM {{.Table}} WHERE {{.ScheduledRows}} AND available_at <= @start::timestamptz) AS due
