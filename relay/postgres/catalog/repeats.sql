-- Message ids that several pending rows have.
SELECT message_id::text AS message_id
FROM ({{template "pending_sample" .}}) AS pending
GROUP BY message_id HAVING count(*) > 1
ORDER BY message_id LIMIT @named::bigint
