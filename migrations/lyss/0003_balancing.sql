-- How a route keeps requests together, and what `adaptive` weighs, in percent.
ALTER TABLE routes ADD COLUMN affinity TEXT NOT NULL DEFAULT 'none'
    CHECK (affinity IN ('none', 'session', 'prefix'));
ALTER TABLE routes ADD COLUMN weigh_success INTEGER NOT NULL DEFAULT 100;
ALTER TABLE routes ADD COLUMN weigh_ttft INTEGER NOT NULL DEFAULT 100;
ALTER TABLE routes ADD COLUMN weigh_rate INTEGER NOT NULL DEFAULT 50;
ALTER TABLE routes ADD COLUMN weigh_price INTEGER NOT NULL DEFAULT 100;
ALTER TABLE routes ADD COLUMN weigh_headroom INTEGER NOT NULL DEFAULT 100;
