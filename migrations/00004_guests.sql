-- +goose Up

-- A guest is a visitor without an account: the requester of one ticket. Nothing that
-- they say of themselves is verified, and nobody finds them by their handle.
ALTER TABLE users
    ADD COLUMN guest boolean NOT NULL DEFAULT false,
    ADD COLUMN guest_name text NOT NULL DEFAULT '', -- how they want to be called
    ADD CHECK (guest OR guest_name = ''),
    ADD CHECK (NOT (guest AND email_verified));

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
