-- +goose Up

-- E-mails to people, a row each. While a row collects, what happens is added to it; when its
-- time comes it is composed, and is the same bytes at each try from then on. What it said is
-- forgotten once it was sent.
CREATE TABLE emails (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text NOT NULL CHECK (kind IN ('ticket', 'dm')),
    user_id   bigint NOT NULL REFERENCES users (id), -- to whom
    ticket_id bigint NOT NULL REFERENCES tickets (id),
    state     text NOT NULL DEFAULT 'collecting' CHECK (state IN ('collecting', 'ready', 'sent', 'dead')),
    key       uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, -- the same at each try
    items     jsonb NOT NULL DEFAULT '[]', -- what has happened, without texts
    more      integer NOT NULL DEFAULT 0,  -- and how much beyond
    mail      jsonb, -- as composed
    tries     integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    why       text NOT NULL DEFAULT '', -- the last try came to nothing
    made_at   timestamptz NOT NULL,
    due_at    timestamptz NOT NULL, -- to be composed, or tried
    done_at   timestamptz, -- sent, or given up
    CHECK ((state IN ('ready', 'dead')) = (mail IS NOT NULL)),
    CHECK ((state IN ('sent', 'dead')) = (done_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX emails_collecting ON emails (kind, ticket_id, user_id) WHERE state = 'collecting';
CREATE INDEX emails_due ON emails (state, due_at) WHERE state IN ('collecting', 'ready');
CREATE INDEX emails_done ON emails (state, done_at) WHERE done_at IS NOT NULL;
CREATE INDEX emails_last ON emails (ticket_id, user_id, kind) WHERE state IN ('ready', 'sent');
CREATE INDEX emails_user ON emails (user_id);
CREATE INDEX emails_ticket ON emails (ticket_id);

-- How far e-mails have been made of what has happened: 'desk' is a place in desk_events, 'dm'
-- one in the log.
CREATE TABLE email_positions (
    name  text PRIMARY KEY,
    epoch text NOT NULL DEFAULT '',
    seq   bigint NOT NULL
) WITH (fillfactor = 50);

-- What people want to be told by e-mail; who has no row, everything.
CREATE TABLE email_choices (
    user_id bigint PRIMARY KEY REFERENCES users (id),
    tickets boolean NOT NULL DEFAULT true,
    dms     boolean NOT NULL DEFAULT true,
    bounced text NOT NULL DEFAULT '' -- the address that takes no mail; another one is tried again
);

-- E-mails that came, by the SHA-256 of their Message-ID: each is taken once.
CREATE TABLE email_received (
    id         bytea PRIMARY KEY CHECK (length(id) = 32),
    ticket_id  bigint REFERENCES tickets (id),
    user_id    bigint REFERENCES users (id),
    outcome    text NOT NULL,
    room_id    bigint NOT NULL DEFAULT 0, -- where it became a message
    message_id bigint NOT NULL DEFAULT 0, -- 0: none, or not yet
    at         timestamptz NOT NULL
);
CREATE INDEX email_received_ticket ON email_received (ticket_id) WHERE ticket_id IS NOT NULL;
CREATE INDEX email_received_user ON email_received (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX email_received_message ON email_received (room_id, message_id) WHERE message_id > 0;
CREATE INDEX email_received_at ON email_received (at);

CREATE TABLE email_attachments (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received  bytea NOT NULL REFERENCES email_received (id) ON DELETE CASCADE,
    n         smallint NOT NULL, -- in its e-mail
    ticket_id bigint NOT NULL REFERENCES tickets (id),
    user_id   bigint NOT NULL REFERENCES users (id),
    name      text NOT NULL,
    type      text NOT NULL,
    content   bytea NOT NULL,
    at        timestamptz NOT NULL,
    UNIQUE (received, n)
);
CREATE INDEX email_attachments_ticket ON email_attachments (ticket_id, id);
CREATE INDEX email_attachments_user ON email_attachments (user_id);

-- Direct messages that may have to be told of by e-mail, and the ticket by which they are.
CREATE TABLE email_dms (
    room_id   bigint NOT NULL REFERENCES rooms (id),
    user_id   bigint NOT NULL REFERENCES users (id), -- to whom
    ticket_id bigint REFERENCES tickets (id),
    last_seq  bigint NOT NULL, -- the last message of the other
    told_seq  bigint NOT NULL DEFAULT 0, -- and the last one that was told of
    due_at    timestamptz, -- null: nothing waits
    PRIMARY KEY (room_id, user_id)
) WITH (fillfactor = 70);
CREATE INDEX email_dms_due ON email_dms (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX email_dms_user ON email_dms (user_id);
CREATE UNIQUE INDEX email_dms_ticket ON email_dms (ticket_id) WHERE ticket_id IS NOT NULL;

-- When somebody last had a socket open, to the minute.
CREATE TABLE user_seen (
    user_id bigint PRIMARY KEY REFERENCES users (id),
    at      timestamptz NOT NULL
) WITH (fillfactor = 50);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
