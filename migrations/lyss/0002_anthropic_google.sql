-- Providers that speak wires of their own.
INSERT INTO providers (name, kind, base_url, status, managed_by, created_ms, updated_ms) VALUES
    ('anthropic', 'anthropic', 'https://api.anthropic.com', 'active', 'builtin', 0, 0),
    ('google', 'google', 'https://generativelanguage.googleapis.com', 'active', 'builtin', 0, 0);
