-- The first dead rows, with the keys that they block.
SELECT o.id, {{template "key_name" .}} AS key
FROM (SELECT id, key FROM {{.Table}} WHERE {{.Dead}} ORDER BY id LIMIT @most::bigint) AS o
