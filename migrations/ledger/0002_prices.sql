-- Prices that rows were costed with: rows say which, and a price is never changed.
--
-- id names everything else in the row. Rates are pico-USD for one of each
-- counter, NULL: not known. above_tokens: for requests that read more than so
-- many tokens, 0: for all.
CREATE TABLE price (
    id INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,
    model TEXT NOT NULL, -- a name or a pattern
    from_ms INTEGER NOT NULL,
    above_tokens INTEGER NOT NULL,
    in_uncached INTEGER,
    cache_read INTEGER,
    cache_write_5m INTEGER,
    cache_write_1h INTEGER,
    out_text INTEGER,
    out_reasoning INTEGER,
    audio_in INTEGER,
    audio_out INTEGER,
    images INTEGER,
    source TEXT NOT NULL
);

-- NULL: no price was in force, or the request's attempts have their own.
ALTER TABLE usage ADD COLUMN price_id INTEGER;
ALTER TABLE attempt ADD COLUMN price_id INTEGER;

DROP VIEW usage_attempts;
CREATE VIEW usage_attempts AS
SELECT request_id, 1 AS number, tenant_id, channel_id, credential_id, upstream_model, status,
    error, estimated, at_ms AS start_ms, ttft_us, total_us, in_uncached, cache_read, cache_write_5m,
    cache_write_1h, out_text, out_reasoning, audio_in, audio_out, images, cost_nusd, price_id
FROM usage WHERE attempts <= 1
UNION ALL
SELECT request_id, number, tenant_id, channel_id, credential_id, upstream_model, status,
    error, estimated, start_ms, ttft_us, total_us, in_uncached, cache_read, cache_write_5m,
    cache_write_1h, out_text, out_reasoning, audio_in, audio_out, images, cost_nusd, price_id
FROM attempt;
