-- +goose Up

-- Keys of games and bots. The secret is shown once and not kept: hash is its SHA-256,
-- hint the part of it that is no secret and finds the row.
CREATE TABLE api_keys (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL CHECK (name <> ''),
    hint         text NOT NULL UNIQUE,
    hash         bytea NOT NULL CHECK (length(hash) = 32),
    user_id      bigint NOT NULL REFERENCES users (id), -- whom it makes its bearer
    scopes       text[] NOT NULL,
    made_by      bigint NOT NULL REFERENCES users (id),
    made_at      timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_by   bigint REFERENCES users (id),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE UNIQUE INDEX api_keys_name ON api_keys (lower(name)) WHERE revoked_at IS NULL;

-- What is done of the erasure of a user's data. Each step may be done twice, and is
-- noted when it has been done: who was killed in the middle goes on from there.
CREATE TABLE erasures (
    user_id    bigint PRIMARY KEY REFERENCES users (id),
    begun_at   timestamptz NOT NULL,
    step       text NOT NULL DEFAULT 'begun' CHECK (step IN ('begun', 'log', 'stream', 'tables', 'done')),
    done_at    timestamptz,
    CHECK ((step = 'done') = (done_at IS NOT NULL))
);

-- A user who was erased is a row without a name: what refers to it keeps its order.
ALTER TABLE users ADD COLUMN erased_at timestamptz;

-- Personal data are erased even from what is only ever added to, by a transaction
-- that says so.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND current_setting('vezechat.erasing', true) = 'on' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME;
END $$;
-- +goose StatementEnd

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
