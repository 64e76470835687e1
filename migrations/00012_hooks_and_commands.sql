-- +goose Up

-- Hooks by which programs post into a room. The token in a hook's address is shown once
-- and not kept: hash is its SHA-256, hint the part of it that is no secret and finds the
-- row. user_id is who its messages are from, and is nobody's else.
CREATE TABLE incoming_hooks (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id      bigint NOT NULL REFERENCES rooms (id),
    name         text NOT NULL CHECK (name <> ''),
    hint         text NOT NULL UNIQUE,
    hash         bytea NOT NULL CHECK (length(hash) = 32),
    user_id      bigint NOT NULL REFERENCES users (id),
    made_by      bigint NOT NULL REFERENCES users (id),
    made_at      timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_by   bigint REFERENCES users (id),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE UNIQUE INDEX incoming_hooks_name ON incoming_hooks (room_id, lower(name)) WHERE revoked_at IS NULL;
CREATE INDEX incoming_hooks_room ON incoming_hooks (room_id, id);

-- Addresses that are told of events: of a room, or of all rooms that are no direct
-- messages and no tickets'. at_seq is a hook's own position in the log: what is above it
-- and of its types waits. Whoever delivers claims a hook for a time; claim counts up, so
-- that who was too slow is known as such.
CREATE TABLE outgoing_hooks (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id       bigint REFERENCES rooms (id), -- NULL: the whole hub
    name          text NOT NULL CHECK (name <> ''),
    url           text NOT NULL CHECK (url <> ''),
    types         text[] NOT NULL CHECK (cardinality(types) > 0),
    secret        bytea NOT NULL,
    old_secret    bytea, -- signs, too, until old_until
    old_until     timestamptz,
    user_id       bigint NOT NULL REFERENCES users (id), -- who the notice in the room is from
    made_by       bigint NOT NULL REFERENCES users (id),
    made_at       timestamptz NOT NULL,
    at_seq        bigint NOT NULL,
    off_at        timestamptz,
    off_reason    text NOT NULL DEFAULT '',
    failures      integer NOT NULL DEFAULT 0, -- in a row
    failing_since timestamptz,
    next_at       timestamptz,
    last_ok_at    timestamptz,
    claim         bigint NOT NULL DEFAULT 0,
    claimed_until timestamptz
);
CREATE UNIQUE INDEX outgoing_hooks_name ON outgoing_hooks (coalesce(room_id, 0), lower(name));

-- The last deliveries of each hook, and those that are to be made again. An event's body
-- is in events and nowhere else.
CREATE TABLE hook_deliveries (
    hook_id  bigint NOT NULL REFERENCES outgoing_hooks (id) ON DELETE CASCADE,
    room_id  bigint NOT NULL,
    seq      bigint NOT NULL,
    type     text NOT NULL,
    state    text NOT NULL CHECK (state IN ('delivered', 'waiting', 'failed')),
    again    boolean NOT NULL DEFAULT false, -- somebody asked for it
    attempts integer NOT NULL DEFAULT 0,
    status   integer NOT NULL DEFAULT 0, -- the answer's, 0: there was none
    error    text NOT NULL DEFAULT '',
    took_ms  integer NOT NULL DEFAULT 0,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (hook_id, seq)
);

-- The whole hub's hooks read what is new by its place: events are stored in that order.
CREATE INDEX events_seq ON events USING brin (seq) WITH (pages_per_range = 32, autosummarize = on);

-- Commands that people type, and the bots that carry them out: called at url, or over
-- NATS when there is none.
CREATE TABLE bot_commands (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_-]{0,31}$'),
    room_id     bigint REFERENCES rooms (id), -- NULL: all rooms where commands hold
    user_id     bigint NOT NULL REFERENCES users (id), -- the bot
    description text NOT NULL,
    usage       text NOT NULL DEFAULT '',
    url         text,
    secret      bytea,
    made_at     timestamptz NOT NULL,
    CHECK ((url IS NULL) = (secret IS NULL))
);
CREATE UNIQUE INDEX bot_commands_name ON bot_commands (coalesce(room_id, 0), name);
CREATE INDEX bot_commands_user ON bot_commands (user_id);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
