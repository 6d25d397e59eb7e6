-- The ledger: one usage row for each admitted request, in the order in which requests ended.
--
-- usage has no secondary index: it is only appended to, and charts read the
-- rollups. Times: _ms since 1970 UTC, _us of duration, NULL: not known. state:
-- 0 completed, 1 upstream_error, 2 incomplete, 3 timeout, 4 client_gone,
-- 5 shutdown, 6 limit, 7 aborted. error: NULL or a name of core/err.def. Ids are
-- of the configuration database, 0: none. Counters are disjoint. cost_nusd:
-- nano-USD, NULL: no price was known.
CREATE TABLE usage (
    id INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL,
    tenant_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    route_id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    dialect INTEGER NOT NULL,
    op INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    model TEXT NOT NULL,
    upstream_model TEXT,
    channel_id INTEGER NOT NULL,
    credential_id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    status INTEGER NOT NULL,
    error TEXT,
    attempts INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    ttft_us INTEGER,
    total_us INTEGER,
    overhead_us INTEGER,
    est_in INTEGER NOT NULL,
    est_out INTEGER NOT NULL,
    in_uncached INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    out_text INTEGER NOT NULL,
    out_reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    cost_nusd INTEGER,
    usage_json TEXT
);

-- The tries of requests that needed more than one.
CREATE TABLE attempt (
    request_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    credential_id INTEGER NOT NULL,
    upstream_model TEXT,
    status INTEGER NOT NULL,
    error TEXT,
    estimated INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    ttft_us INTEGER,
    total_us INTEGER,
    in_uncached INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    out_text INTEGER NOT NULL,
    out_reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    cost_nusd INTEGER,
    PRIMARY KEY (request_id, number)
) WITHOUT ROWID;

-- Every try of every request, whether it was the only one or not.
CREATE VIEW usage_attempts AS
SELECT request_id, 1 AS number, tenant_id, channel_id, credential_id, upstream_model, status,
    error, estimated, at_ms AS start_ms, ttft_us, total_us,
    in_uncached, cache_read, cache_write_5m, cache_write_1h, out_text, out_reasoning, audio_in, audio_out, images, cost_nusd
FROM usage WHERE attempts <= 1
UNION ALL
SELECT request_id, number, tenant_id, channel_id, credential_id, upstream_model, status,
    error, estimated, start_ms, ttft_us, total_us,
    in_uncached, cache_read, cache_write_5m, cache_write_1h, out_text, out_reasoning, audio_in, audio_out, images, cost_nusd
FROM attempt;

-- How far each journal has been carried over: in the same transaction as the rows.
CREATE TABLE journal_pos (
    node TEXT NOT NULL,
    journal BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (node, journal)
) WITHOUT ROWID;

CREATE TABLE rollup_minute (
    tenant_id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, -- begin of the minute, UTC; a request counts where it was admitted
    user_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors_request INTEGER NOT NULL,
    errors_key INTEGER NOT NULL,
    errors_throttle INTEGER NOT NULL,
    errors_server INTEGER NOT NULL,
    errors_client INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    in_uncached INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    out_text INTEGER NOT NULL,
    out_reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, at_ms, user_id, key_id, channel_id, model)
) WITHOUT ROWID;

CREATE TABLE rollup_hour (
    tenant_id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, -- begin of the hour, UTC; a request counts where it was admitted
    user_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors_request INTEGER NOT NULL,
    errors_key INTEGER NOT NULL,
    errors_throttle INTEGER NOT NULL,
    errors_server INTEGER NOT NULL,
    errors_client INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    in_uncached INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    out_text INTEGER NOT NULL,
    out_reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, at_ms, user_id, key_id, channel_id, model)
) WITHOUT ROWID;

CREATE TABLE rollup_day (
    tenant_id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, -- begin of the day, UTC; a request counts where it was admitted
    user_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors_request INTEGER NOT NULL,
    errors_key INTEGER NOT NULL,
    errors_throttle INTEGER NOT NULL,
    errors_server INTEGER NOT NULL,
    errors_client INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    in_uncached INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    out_text INTEGER NOT NULL,
    out_reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, at_ms, user_id, key_id, channel_id, model)
) WITHOUT ROWID;
