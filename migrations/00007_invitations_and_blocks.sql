-- +goose Up

-- A guild that anyone may enter; the others are entered by invitation.
ALTER TABLE rooms ADD COLUMN public boolean NOT NULL DEFAULT false, ADD CHECK (kind = 'guild' OR NOT public);
CREATE INDEX rooms_public_by_name ON rooms (name_key, id) WHERE public;

-- One that has been accepted, declined or withdrawn is gone.
CREATE TABLE room_invitations (
    room_id    bigint NOT NULL REFERENCES rooms (id),
    user_id    bigint NOT NULL REFERENCES users (id),
    by_user    bigint NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX room_invitations_user ON room_invitations (user_id, created_at);

CREATE TABLE user_blocks (
    user_id    bigint NOT NULL REFERENCES users (id),
    blocked_id bigint NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, blocked_id),
    CHECK (user_id <> blocked_id)
);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
