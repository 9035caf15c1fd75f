-- Inserts a row, as an application does. The role need not be able to read it.
INSERT INTO {{.Table}} (message_id, topic, key, payload, headers, available_at{{if .ContentType}}, content_type{{end}})
VALUES (@message_id, @topic, @key, @payload, @headers, coalesce(@at::timestamptz, now() + @seconds::float8 * interval '1 second'){{if .ContentType}}, @content_type{{end}})
