-- What customers will be looked up by. A backfill fills it in batches; it also counts how often a row was filled.
ALTER TABLE customer ADD COLUMN email_key TEXT;
ALTER TABLE customer ADD COLUMN fills INTEGER NOT NULL DEFAULT 0;
