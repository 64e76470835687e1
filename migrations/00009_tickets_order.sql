-- +goose Up
-- A list by who waits longest begins at the end of an index. One by the last change has none: it
-- would be written with every change of a ticket, which takes a third of the time without it.
CREATE INDEX tickets_waiting ON tickets (coalesce(waiting_since, 'infinity'), id);
