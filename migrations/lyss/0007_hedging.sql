-- A second attempt beside one that is slower than usual, and what share of a route's requests and
-- of their cost that may be, in percent.
ALTER TABLE routes ADD COLUMN hedge INTEGER NOT NULL DEFAULT 0 CHECK (hedge IN (0, 1));
ALTER TABLE routes ADD COLUMN hedge_percent INTEGER NOT NULL DEFAULT 10;
ALTER TABLE routes ADD COLUMN hedge_cost_percent INTEGER NOT NULL DEFAULT 10;
