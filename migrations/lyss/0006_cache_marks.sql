-- Whether prompts are marked for Anthropic's cache on their way, where their callers have not.
ALTER TABLE channels ADD COLUMN cache_marks TEXT NOT NULL DEFAULT 'caller'
    CHECK (cache_marks IN ('caller', 'auto'));
