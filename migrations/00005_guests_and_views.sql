-- +goose Up

-- A guest is a visitor without an account: the requester of one ticket. Nothing that
-- they say of themselves is verified, and nobody finds them by their handle.
ALTER TABLE users
    ADD COLUMN guest boolean NOT NULL DEFAULT false,
    ADD COLUMN guest_name text NOT NULL DEFAULT '', -- how they want to be called
    ADD CHECK (guest OR guest_name = ''),
    ADD CHECK (NOT (guest AND email_verified));

-- What the desk looks at first. An administrator changes these or takes them away.
INSERT INTO ticket_views (name, filter, position) VALUES
    ('Mine', '{"mine": true, "status": ["new", "open", "pending", "on_hold"]}', 1),
    ('Unassigned', '{"unassigned": true, "status": ["new", "open"]}', 2),
    ('Open', '{"status": ["new", "open"]}', 3),
    ('Waiting', '{"status": ["pending", "on_hold"]}', 4),
    ('Solved', '{"status": ["solved"]}', 5);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
