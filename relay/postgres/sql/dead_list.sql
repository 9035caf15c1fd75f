-- Dead rows for a person to read. Of the others there is only the id, as a cursor.
SELECT id, matches,
	CASE WHEN matches THEN message_id END AS message_id,
	CASE WHEN matches THEN left(topic, {{.MaxText}}) END AS topic,
	CASE WHEN matches THEN left(key, {{.MaxText}}) END AS key,
	CASE WHEN matches THEN attempts END AS attempts,
	CASE WHEN matches THEN created_at END AS created_at,
	CASE WHEN matches THEN first_attempt_at END AS first_attempt_at,
	CASE WHEN matches THEN dead_at END AS dead_at,
	CASE WHEN matches THEN left(last_error, {{.MaxText}}) END AS last_error,
	CASE WHEN matches THEN left(type, {{.MaxText}}) END AS error_type
FROM ({{template "dead_page" .}}
) AS page
ORDER BY id
