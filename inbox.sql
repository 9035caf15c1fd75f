-- An inbox for outbox-relay's consumers, printed by "outbox-relay schema --inbox". It
-- belongs in the consumer's database, where messages have their effect; the relay does not
-- use it. Each consumer needs one of its own: what one has processed, another has not.
--
-- One transaction, for PostgreSQL 14 and later, which may be run again at any time. Where a
-- tool runs each migration in a transaction of its own, leave out BEGIN and COMMIT.
BEGIN;

SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
-- Nothing below may resolve to an object that somebody placed in another schema.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE IF NOT EXISTS "public"."billing_inbox" (
  -- The message's id: the header Nats-Msg-Id, or the property message_id. A consumer inserts
  -- it in the transaction of the effect. If it is there already, the message is a copy.
  message_id   uuid        PRIMARY KEY,
  processed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE "public"."billing_inbox" IS 'Messages that have had their effect here. A message whose id is here is a copy.';

-- For the purge.
CREATE INDEX IF NOT EXISTS "billing_inbox_processed_idx" ON "public"."billing_inbox" (processed_at);

-- Deletes the oldest ids, at most so many, and returns how many. Run it every few minutes,
-- again as long as it returns "most". Keep ids for longer than the longest outage: a copy
-- that comes after its id was deleted has its effect twice.
CREATE OR REPLACE FUNCTION "public"."billing_inbox_purge"(keep interval DEFAULT '30 days', most integer DEFAULT 10000) RETURNS bigint
LANGUAGE sql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $outbox$
  WITH deleted AS (
    DELETE FROM "public"."billing_inbox" WHERE message_id = ANY (ARRAY(
      SELECT message_id FROM "public"."billing_inbox" WHERE processed_at < now() - keep ORDER BY processed_at LIMIT most))
    RETURNING 1
  )
  SELECT count(*) FROM deleted
$outbox$;

COMMIT;
