-- +goose Up

-- What the last token that somebody showed made them on the hub, see
-- vezechat.Standing: nobody acts against somebody of their own standing.
ALTER TABLE users ADD COLUMN standing smallint NOT NULL DEFAULT 0 CHECK (standing IN (0, 4, 5)),
    ADD COLUMN standing_at timestamptz NOT NULL DEFAULT now(); -- when it was shown last

-- Who may not post or not be there, in all rooms. Versions are given in the order of
-- commits: who reads what is above the last one that they know misses nothing.
CREATE TABLE hub_sanctions (
    user_id      bigint PRIMARY KEY REFERENCES users (id),
    muted_until  timestamptz,
    banned_until timestamptz,
    reason       text NOT NULL DEFAULT '',
    version      bigint NOT NULL
);
CREATE UNIQUE INDEX hub_sanctions_version ON hub_sanctions (version);
CREATE SEQUENCE hub_sanction_versions;

-- What moderators have decided about messages. The messages themselves follow when the
-- event comes back from the log.
CREATE TABLE message_decisions (
    room_id    bigint NOT NULL,
    message_id bigint NOT NULL,
    state      text NOT NULL CHECK (state IN ('visible', 'hidden', 'deleted')),
    reason     text NOT NULL DEFAULT '',
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, message_id)
);

CREATE TABLE held_messages (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id    bigint NOT NULL REFERENCES rooms (id),
    user_id    bigint NOT NULL REFERENCES users (id),
    handle     text NOT NULL,
    text       text NOT NULL,
    nonce      text,
    reply_to   bigint NOT NULL DEFAULT 0,
    by_user    bigint NOT NULL DEFAULT 0, -- the service that spoke for the author
    flags      text[] NOT NULL DEFAULT '{}',
    findings   jsonb NOT NULL DEFAULT '[]',
    state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'approved', 'rejected')),
    reason     text NOT NULL DEFAULT '',
    held_at    timestamptz NOT NULL,
    decided_at timestamptz,
    CHECK ((state = 'waiting') = (decided_at IS NULL))
);
CREATE UNIQUE INDEX held_messages_nonce ON held_messages (room_id, user_id, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX held_messages_author ON held_messages (user_id, id);

-- What waits for a moderator.
CREATE TABLE moderation_cases (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('report', 'held', 'flag', 'appeal')),
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'claimed', 'done')),
    room_id    bigint NOT NULL,
    message_id bigint NOT NULL DEFAULT 0,
    held_id    bigint REFERENCES held_messages (id),
    user_id    bigint NOT NULL, -- the author
    findings   jsonb NOT NULL DEFAULT '[]',
    appeal     text NOT NULL DEFAULT '',
    opened_at  timestamptz NOT NULL,
    claimed_by bigint REFERENCES users (id),
    done_by    bigint REFERENCES users (id),
    done_at    timestamptz,
    outcome    text NOT NULL DEFAULT '',
    CHECK ((message_id = 0) = (held_id IS NOT NULL)),
    CHECK ((state = 'done') = (done_at IS NOT NULL)),
    CHECK (state <> 'claimed' OR claimed_by IS NOT NULL)
);
-- One case for all who complain about a message.
CREATE UNIQUE INDEX moderation_cases_message ON moderation_cases (room_id, message_id, kind) WHERE state <> 'done' AND message_id <> 0;
CREATE UNIQUE INDEX moderation_cases_held ON moderation_cases (held_id, kind) WHERE held_id IS NOT NULL AND state <> 'done';
-- One appeal for each author and message.
CREATE UNIQUE INDEX moderation_cases_appeal ON moderation_cases (room_id, message_id) WHERE kind = 'appeal' AND message_id <> 0;
CREATE UNIQUE INDEX moderation_cases_held_appeal ON moderation_cases (held_id) WHERE kind = 'appeal' AND held_id IS NOT NULL;
CREATE INDEX moderation_cases_waiting ON moderation_cases (id) WHERE state <> 'done';
CREATE INDEX moderation_cases_room ON moderation_cases (room_id, id);

-- Complaints from before there were cases wait for a moderator, too.
INSERT INTO moderation_cases (kind, room_id, message_id, user_id, opened_at)
SELECT 'report', r.room_id, r.message_id, m.user_id, min(r.created_at)
FROM reports r JOIN messages m ON m.room_id = r.room_id AND m.message_id = r.message_id
GROUP BY r.room_id, r.message_id, m.user_id;

-- The rules of the guards, every version.
CREATE TABLE guard_rules (
    version    bigint PRIMARY KEY,
    rules      text NOT NULL, -- JSON as it was given: jsonb would not keep its order
    by_user    bigint NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL
);

CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    actor_id   bigint NOT NULL DEFAULT 0, -- 0: a guard
    guard      text NOT NULL DEFAULT '',
    action     text NOT NULL,
    room_id    bigint NOT NULL DEFAULT 0, -- 0: the whole hub
    message_id bigint NOT NULL DEFAULT 0,
    user_id    bigint NOT NULL DEFAULT 0, -- to whom, or whose message
    held_id    bigint NOT NULL DEFAULT 0,
    case_id    bigint NOT NULL DEFAULT 0,
    until      timestamptz,
    reason     text NOT NULL DEFAULT '',
    before     jsonb NOT NULL,
    after      jsonb NOT NULL
);
CREATE INDEX audit_log_room ON audit_log (room_id, id);
CREATE INDEX audit_log_user ON audit_log (user_id, id);
CREATE INDEX audit_log_actor ON audit_log (actor_id, id);
CREATE INDEX audit_log_action ON audit_log (action, id);

-- +goose StatementBegin
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd
-- Rows one by one and all at once, from the hub as from a console. ENABLE ALWAYS: also
-- under session_replication_role = replica.
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;
CREATE TRIGGER guard_rules_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON guard_rules
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
ALTER TABLE guard_rules ENABLE ALWAYS TRIGGER guard_rules_append_only;

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
