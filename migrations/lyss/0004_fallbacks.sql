-- Where a route's requests go that its channels cannot answer by their nature; empty: nowhere.
ALTER TABLE routes ADD COLUMN context_fallback TEXT NOT NULL DEFAULT '';
ALTER TABLE routes ADD COLUMN policy_fallback TEXT NOT NULL DEFAULT '';
