-- +goose Up
-- Lists by what changed last, and by who waits longest, begin at the end of an index.
CREATE INDEX tickets_updated ON tickets (updated_at DESC, id DESC);
CREATE INDEX tickets_waiting ON tickets (coalesce(waiting_since, 'infinity'), id);
