-- The configuration: whose, what and by which way. Times are milliseconds since 1970 UTC.
-- A tenant_id of NULL is the platform's own. Lists of words are stored one a line. AUTOINCREMENT
-- where usage or the audit refer to an id: what was removed never lends its past to a newcomer.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
INSERT INTO meta (name, value) VALUES ('config_rev', '1');

CREATE TABLE tenants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    time_zone TEXT NOT NULL,
    unlimited INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('super_admin', 'tenant_admin', 'end_user', 'auditor')),
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (tenant_id, email)
) STRICT;

CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    last4 TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    allowed_models TEXT NOT NULL,
    allowed_channels TEXT NOT NULL,
    ping INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive')),
    expires_ms INTEGER,
    last_used_ms INTEGER,
    revoked_ms INTEGER,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
-- A name may be used again once its key is revoked.
CREATE UNIQUE INDEX api_keys_live_name ON api_keys (tenant_id, name) WHERE revoked_ms IS NULL;
CREATE INDEX api_keys_user ON api_keys (user_id);

CREATE TABLE providers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    base_url TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive')),
    managed_by TEXT NOT NULL CHECK (managed_by IN ('builtin', 'api', 'file')),
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
INSERT INTO providers (name, kind, base_url, status, managed_by, created_ms, updated_ms) VALUES
    ('openai', 'openai', 'https://api.openai.com/v1', 'active', 'builtin', 0, 0),
    ('deepseek', 'deepseek', 'https://api.deepseek.com', 'active', 'builtin', 0, 0),
    ('azure-openai', 'azure-openai', '', 'active', 'builtin', 0, 0),
    ('openai-compatible', 'openai-compatible', '', 'active', 'builtin', 0, 0);

CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    provider TEXT NOT NULL REFERENCES providers (name),
    context_tokens INTEGER,
    output_tokens INTEGER,
    capabilities TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE channels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER REFERENCES tenants (id),
    name TEXT NOT NULL,
    provider TEXT NOT NULL REFERENCES providers (name),
    base_url TEXT NOT NULL,
    api_version TEXT NOT NULL,
    ops TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 100),
    weight INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 1000),
    rpm INTEGER,
    tpm INTEGER,
    concurrency INTEGER,
    connect_timeout_ms INTEGER,
    ttft_timeout_ms INTEGER,
    chunk_timeout_ms INTEGER,
    total_timeout_ms INTEGER,
    on_disconnect TEXT NOT NULL CHECK (on_disconnect IN ('cancel', 'drain')),
    drain_max_s INTEGER,
    drain_max_tokens INTEGER,
    tags TEXT NOT NULL,
    param_overrides TEXT NOT NULL,
    header_overrides TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'disabled', 'maintenance')),
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX channels_name ON channels (coalesce(tenant_id, 0), name);

CREATE TABLE channel_models (
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER REFERENCES tenants (id),
    channel_id INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    pattern TEXT NOT NULL,
    upstream TEXT NOT NULL,
    UNIQUE (channel_id, pattern)
) STRICT;

-- sealed: the credential under the data key of its tenant, bound to tenant, id and version.
CREATE TABLE channel_credentials (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER REFERENCES tenants (id),
    channel_id INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    fingerprint TEXT NOT NULL,
    last4 TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive')),
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX channel_credentials_channel ON channel_credentials (channel_id);

-- wrapped: the data key of a tenant (0: the platform) under the key-encryption key.
CREATE TABLE data_keys (
    tenant_id INTEGER PRIMARY KEY,
    wrapped BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE routes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    aliases TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive')),
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (tenant_id, name)
) STRICT;

-- Empty upstream, NULL priority or weight: what the channel itself says.
CREATE TABLE route_candidates (
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    route_id INTEGER NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    channel_id INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    upstream TEXT NOT NULL,
    priority INTEGER,
    weight INTEGER,
    UNIQUE (route_id, channel_id, upstream)
) STRICT;
CREATE INDEX route_candidates_channel ON route_candidates (channel_id);

-- Who did what to which thing; rows are only ever added.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    thing TEXT NOT NULL,
    thing_id INTEGER NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
) STRICT;
CREATE INDEX audit_tenant_time ON audit (tenant_id, at_ms);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'audit rows are never changed'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT raise(ABORT, 'audit rows are never removed'); END;
