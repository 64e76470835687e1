-- +goose Up

CREATE TABLE users (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer         text NOT NULL,
    subject        text NOT NULL,
    handle         text NOT NULL,
    handle_key     text NOT NULL, -- what two handles share that read alike
    handle_look    text NOT NULL, -- what two handles share that look alike
    email          text NOT NULL DEFAULT '',
    email_verified boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (issuer, subject)
);
CREATE UNIQUE INDEX users_handle_key ON users (handle_key);
CREATE UNIQUE INDEX users_handle_look ON users (handle_look);

CREATE TABLE rooms (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    name_key    text NOT NULL,
    name_look   text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('global', 'guild', 'party', 'dm', 'support')),
    meta        jsonb NOT NULL DEFAULT '{}',
    created_by  bigint REFERENCES users (id),
    created_at  timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    slow_mode   integer NOT NULL DEFAULT 0 CHECK (slow_mode >= 0),
    locked      boolean NOT NULL DEFAULT false,
    members     integer NOT NULL DEFAULT 0 CHECK (members >= 0),
    dm_low      bigint REFERENCES users (id),
    dm_high     bigint REFERENCES users (id),
    CHECK ((kind = 'dm') = (dm_low IS NOT NULL)),
    CHECK ((dm_low IS NULL) = (dm_high IS NULL)),
    CHECK (dm_low < dm_high)
);
-- A name is free again once its room is archived.
CREATE UNIQUE INDEX rooms_name_key ON rooms (name_key)
    WHERE archived_at IS NULL AND kind IN ('global', 'guild', 'party');
CREATE UNIQUE INDEX rooms_name_look ON rooms (name_look)
    WHERE archived_at IS NULL AND kind IN ('global', 'guild', 'party');
CREATE UNIQUE INDEX rooms_dm ON rooms (dm_low, dm_high) WHERE kind = 'dm';
CREATE INDEX rooms_global_by_name ON rooms (name_key, id) WHERE kind = 'global';

-- The end of each room's chain of events. Apart from rooms, so that the
-- persister's updates neither wait for commands nor rewrite wide rows.
CREATE TABLE room_heads (
    room_id  bigint PRIMARY KEY REFERENCES rooms (id),
    last_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE room_members (
    room_id   bigint NOT NULL REFERENCES rooms (id),
    user_id   bigint NOT NULL REFERENCES users (id),
    role      text NOT NULL CHECK (role IN ('owner', 'moderator', 'member')),
    joined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX room_members_user ON room_members (user_id, room_id);

-- Outlives membership: who is muted stays so after leaving and coming back.
CREATE TABLE room_restrictions (
    room_id      bigint NOT NULL REFERENCES rooms (id),
    user_id      bigint NOT NULL REFERENCES users (id),
    muted_until  timestamptz,
    banned_until timestamptz, -- infinity: for good
    by_user      bigint REFERENCES users (id),
    reason       text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room_id, user_id)
);

-- What follows is written by the persister alone, from the log, without foreign
-- keys: it checks a batch against room_heads at once.
CREATE TABLE messages (
    room_id    bigint NOT NULL,
    message_id bigint NOT NULL,
    user_id    bigint NOT NULL,
    handle     text NOT NULL,
    text       text NOT NULL,
    created_at timestamptz NOT NULL,
    edited_at  timestamptz,
    deleted_at timestamptz,
    hidden_at  timestamptz,
    reply_to   bigint NOT NULL DEFAULT 0,
    flags      text[] NOT NULL DEFAULT '{}',
    nonce      text,
    PRIMARY KEY (room_id, message_id)
);
CREATE UNIQUE INDEX messages_nonce ON messages (room_id, user_id, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX messages_words ON messages USING gin (to_tsvector('simple', text))
    WHERE deleted_at IS NULL AND hidden_at IS NULL;

CREATE TABLE message_reactions (
    room_id    bigint NOT NULL,
    message_id bigint NOT NULL,
    emoji      text NOT NULL,
    user_id    bigint NOT NULL,
    seq        bigint NOT NULL, -- of the event that added it: the order of reactions
    PRIMARY KEY (room_id, message_id, emoji, user_id)
);

CREATE TABLE events (
    room_id    bigint NOT NULL,
    seq        bigint NOT NULL,
    prev       bigint NOT NULL,
    type       text NOT NULL,
    message_id bigint NOT NULL DEFAULT 0, -- the message it is about, 0: none
    msg_id     text NOT NULL DEFAULT '',  -- the entry's ID in the log
    payload    bytea NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE TABLE log_position (
    stream     text PRIMARY KEY,
    epoch      text NOT NULL DEFAULT '',
    seq        bigint NOT NULL DEFAULT 0,
    msg_id     text NOT NULL DEFAULT '', -- of the record at seq, empty: unknown
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
INSERT INTO log_position (stream) VALUES ('CHAT');

CREATE TABLE read_positions (
    user_id bigint NOT NULL REFERENCES users (id),
    room_id bigint NOT NULL REFERENCES rooms (id),
    seq     bigint NOT NULL,
    PRIMARY KEY (user_id, room_id)
) WITH (fillfactor = 70);

CREATE TABLE reports (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id     bigint NOT NULL,
    message_id  bigint NOT NULL,
    reporter_id bigint NOT NULL REFERENCES users (id),
    reason      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (room_id, message_id, reporter_id)
);

CREATE TABLE idempotency_keys (
    user_id    bigint NOT NULL REFERENCES users (id),
    key        text NOT NULL,
    room_id    bigint REFERENCES rooms (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- What commands have decided and the log does not have yet. A row goes when its
-- event comes back from the log.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    msg_id     text NOT NULL GENERATED ALWAYS AS ('outbox-' || id::text || '-' || tag) STORED,
    tag        text NOT NULL DEFAULT substr(md5(random()::text), 1, 8),
    subject    text NOT NULL,
    payload    bytea NOT NULL,
    trace      jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX outbox_msg_id ON outbox (msg_id);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
