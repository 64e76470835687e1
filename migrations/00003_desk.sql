-- +goose Up

-- The desk's settings. What is always read whole and never searched is JSON, in
-- the form of the domain's types.

CREATE TABLE calendars (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    name_key   text NOT NULL UNIQUE,
    zone       text NOT NULL,
    hours      jsonb NOT NULL,
    exceptions jsonb NOT NULL DEFAULT '[]',
    version    integer NOT NULL DEFAULT 1 CHECK (version > 0)
);

CREATE TABLE sla_policies (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name             text NOT NULL,
    name_key         text NOT NULL UNIQUE,
    targets          jsonb NOT NULL,
    pause_on_hold    boolean NOT NULL DEFAULT false,
    first_resolution boolean NOT NULL DEFAULT false,
    actions          jsonb NOT NULL DEFAULT '[]',
    version          integer NOT NULL DEFAULT 1 CHECK (version > 0)
);

-- Grows with each change of the settings and of what agents can do: routers keep
-- those in memory, and compare.
CREATE TABLE desk_version (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    n   bigint NOT NULL
);
INSERT INTO desk_version (n) VALUES (1);

CREATE TABLE skills (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL,
    name_key text NOT NULL UNIQUE
);

CREATE TABLE queues (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL,
    name_key      text NOT NULL UNIQUE,
    calendar_id   bigint REFERENCES calendars (id), -- null: always open
    policy_id     bigint REFERENCES sla_policies (id),
    offer_seconds integer NOT NULL DEFAULT 30 CHECK (offer_seconds > 0),
    wrap_seconds  integer NOT NULL DEFAULT 0 CHECK (wrap_seconds >= 0),
    auto_accept   boolean NOT NULL DEFAULT true,
    even          boolean NOT NULL DEFAULT false,
    overflow_id   bigint REFERENCES queues (id),
    steps         jsonb NOT NULL DEFAULT '[]',
    CHECK (overflow_id <> id)
);

-- used is the units of what the agent has and is offered: it changes only in the
-- statement that compares it with capacity, so that no two routers fill one place.
CREATE TABLE agents (
    user_id       bigint PRIMARY KEY REFERENCES users (id),
    status        text NOT NULL DEFAULT 'offline'
                  CHECK (status IN ('online', 'away', 'busy', 'wrap_up', 'not_responding', 'offline')),
    since         timestamptz NOT NULL DEFAULT now(),
    wrap_until    timestamptz, -- of wrap_up
    can_reply     boolean NOT NULL DEFAULT true,
    capacity      integer NOT NULL DEFAULT 100 CHECK (capacity >= 0),
    used          integer NOT NULL DEFAULT 0 CHECK (used >= 0),
    misses        integer NOT NULL DEFAULT 0 CHECK (misses >= 0), -- offers passed in a row
    last_assigned timestamptz,
    CHECK ((status = 'wrap_up') = (wrap_until IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX agents_wrap ON agents (wrap_until) WHERE wrap_until IS NOT NULL;

CREATE TABLE agent_skills (
    agent_id bigint NOT NULL REFERENCES agents (user_id),
    skill_id bigint NOT NULL REFERENCES skills (id),
    level    smallint NOT NULL CHECK (level BETWEEN 1 AND 5),
    PRIMARY KEY (agent_id, skill_id)
);
CREATE INDEX agent_skills_skill ON agent_skills (skill_id);

CREATE TABLE queue_agents (
    queue_id bigint NOT NULL REFERENCES queues (id),
    agent_id bigint NOT NULL REFERENCES agents (user_id),
    tier     smallint NOT NULL DEFAULT 1 CHECK (tier BETWEEN 1 AND 9),
    PRIMARY KEY (queue_id, agent_id)
);
CREATE INDEX queue_agents_agent ON queue_agents (agent_id);

-- An agent is there while one of their sessions has not expired: an edge that died
-- extends none.
CREATE TABLE agent_sessions (
    id         text PRIMARY KEY,
    agent_id   bigint NOT NULL REFERENCES agents (user_id),
    node       text NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX agent_sessions_agent ON agent_sessions (agent_id, expires_at);
CREATE INDEX agent_sessions_expiry ON agent_sessions (expires_at);

-- What a ticket may have besides what every ticket has.
CREATE TABLE ticket_fields (
    key      text PRIMARY KEY,
    name     text NOT NULL,
    type     text NOT NULL CHECK (type IN ('text', 'number', 'bool', 'date', 'choice')),
    options  jsonb NOT NULL DEFAULT '[]', -- of a choice
    required boolean NOT NULL DEFAULT false -- to solve it
);

CREATE TABLE tickets (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject        text NOT NULL,
    channel        text NOT NULL CHECK (channel IN ('web', 'chat', 'email', 'dm')),
    created_by     bigint NOT NULL REFERENCES users (id),
    requester_id   bigint NOT NULL REFERENCES users (id),
    queue_id       bigint REFERENCES queues (id),
    status         text NOT NULL DEFAULT 'new'
                   CHECK (status IN ('new', 'open', 'pending', 'on_hold', 'solved', 'closed')),
    priority       text NOT NULL DEFAULT 'normal' CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    assignee_id    bigint REFERENCES users (id),
    room_id        bigint NOT NULL UNIQUE REFERENCES rooms (id), -- with the requester
    notes_room_id  bigint NOT NULL UNIQUE REFERENCES rooms (id), -- of the staff alone
    tags           text[] NOT NULL DEFAULT '{}',
    custom         jsonb NOT NULL DEFAULT '{}',
    live           boolean NOT NULL DEFAULT false, -- somebody sits and waits for an answer
    version        integer NOT NULL DEFAULT 1 CHECK (version > 0), -- of the row: grows with each change
    reopened       integer NOT NULL DEFAULT 0 CHECK (reopened >= 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    last_msg_at    timestamptz,
    last_msg_seq   bigint NOT NULL DEFAULT 0, -- of the public room, for the check on sending
    first_reply_at timestamptz,
    waiting_since  timestamptz, -- the requester's oldest message without an answer
    solved_at      timestamptz,
    solved_by      bigint REFERENCES users (id),
    closed_at      timestamptz,
    close_reason   text NOT NULL DEFAULT '' CHECK (close_reason IN ('', 'expired', 'merged', 'spam')),
    merged_into    bigint REFERENCES tickets (id),
    follow_up_of   bigint REFERENCES tickets (id),
    wake_at        timestamptz, -- put aside until
    expire_at      timestamptz, -- solved, and closed then
    silent_at      timestamptz, -- a live chat: weighs less from then on
    words          tsvector GENERATED ALWAYS AS (to_tsvector('simple', subject)) STORED,
    CHECK ((status = 'closed') = (closed_at IS NOT NULL)),
    CHECK ((status = 'closed') = (close_reason <> '')),
    CHECK ((close_reason = 'merged') = (merged_into IS NOT NULL)),
    CHECK (status <> 'solved' OR solved_at IS NOT NULL),
    CHECK (status IN ('pending', 'on_hold') OR wake_at IS NULL),
    CHECK (merged_into <> id)
) WITH (fillfactor = 80);
CREATE INDEX tickets_requester ON tickets (requester_id, id);
CREATE INDEX tickets_assignee ON tickets (assignee_id, status) WHERE status <> 'closed';
CREATE INDEX tickets_open ON tickets (queue_id, status, id) WHERE status <> 'closed';
CREATE INDEX tickets_tags ON tickets USING gin (tags);
CREATE INDEX tickets_words ON tickets USING gin (words);
CREATE INDEX tickets_merged ON tickets (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX tickets_follow_up ON tickets (follow_up_of) WHERE follow_up_of IS NOT NULL;
CREATE INDEX tickets_wake ON tickets (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX tickets_expire ON tickets (expire_at) WHERE expire_at IS NOT NULL;
CREATE INDEX tickets_silent ON tickets (silent_at) WHERE silent_at IS NOT NULL;

-- The persister reads a run's heads anyway: it sees there whether a message is a
-- ticket's, and costs others nothing.
ALTER TABLE room_heads
    ADD COLUMN ticket_id bigint REFERENCES tickets (id),
    ADD COLUMN notes boolean NOT NULL DEFAULT false;

-- Messages of tickets that are stored and have not done yet to their tickets what
-- they do. A row goes in the transaction that does it.
CREATE TABLE ticket_inbox (
    seq       bigint PRIMARY KEY,
    ticket_id bigint NOT NULL,
    room_id   bigint NOT NULL,
    user_id   bigint NOT NULL,
    notes     boolean NOT NULL,
    flags     text[] NOT NULL,
    at        timestamptz NOT NULL
);
CREATE INDEX ticket_inbox_ticket ON ticket_inbox (ticket_id, seq);

-- Every change, for good.
CREATE TABLE ticket_history (
    ticket_id bigint NOT NULL REFERENCES tickets (id),
    n         integer NOT NULL, -- the version of the ticket that it made
    part      smallint NOT NULL DEFAULT 0, -- several changes in one version
    actor_id  bigint REFERENCES users (id), -- null: the hub
    kind      text NOT NULL,
    why       text NOT NULL DEFAULT '',
    old       jsonb,
    new       jsonb,
    at        timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, n, part)
);
-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME;
END $$;
-- +goose StatementEnd
CREATE TRIGGER ticket_history_append_only BEFORE UPDATE OR DELETE ON ticket_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE ticket_watchers (
    ticket_id bigint NOT NULL REFERENCES tickets (id),
    user_id   bigint NOT NULL REFERENCES users (id),
    PRIMARY KEY (ticket_id, user_id)
);
CREATE INDEX ticket_watchers_user ON ticket_watchers (user_id);

CREATE TABLE ticket_links (
    ticket_id bigint NOT NULL REFERENCES tickets (id),
    other_id  bigint NOT NULL REFERENCES tickets (id),
    kind      text NOT NULL CHECK (kind IN ('related', 'blocks', 'duplicate_of', 'split_from')),
    PRIMARY KEY (ticket_id, other_id, kind),
    CHECK (ticket_id <> other_id)
);
CREATE INDEX ticket_links_other ON ticket_links (other_id);

-- Who has a ticket before them, and who writes an answer.
CREATE TABLE ticket_presence (
    ticket_id  bigint NOT NULL REFERENCES tickets (id),
    user_id    bigint NOT NULL REFERENCES users (id),
    mode       text NOT NULL CHECK (mode IN ('viewing', 'replying')),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, user_id)
);

CREATE TABLE ticket_ratings (
    ticket_id bigint PRIMARY KEY REFERENCES tickets (id),
    score     smallint NOT NULL CHECK (score BETWEEN 1 AND 5),
    comment   text NOT NULL DEFAULT '',
    agent_id  bigint REFERENCES users (id), -- whom it is about
    at        timestamptz NOT NULL
);

CREATE TABLE ticket_views (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL,
    owner_id bigint REFERENCES users (id), -- null: of all the staff
    filter   jsonb NOT NULL,
    position integer NOT NULL DEFAULT 0
);
CREATE INDEX ticket_views_owner ON ticket_views (owner_id);

CREATE TABLE macros (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL,
    owner_id bigint REFERENCES users (id), -- null: not one person's
    queue_id bigint REFERENCES queues (id), -- for the agents of a queue only
    text     text NOT NULL DEFAULT '', -- a canned reply, with placeholders
    actions  jsonb NOT NULL DEFAULT '[]',
    used     integer NOT NULL DEFAULT 0
);

-- Where each ticket stands between its queue and an agent. It has one row while
-- it is not closed; what is waited for elsewhere is 'none'.
CREATE TABLE routing_items (
    ticket_id       bigint PRIMARY KEY REFERENCES tickets (id),
    queue_id        bigint REFERENCES queues (id), -- null: in none, and given to an agent by hand
    state           text NOT NULL CHECK (state IN ('queued', 'offered', 'assigned', 'none')),
    live            boolean NOT NULL DEFAULT false, -- a chat: somebody sits and waits
    cost            integer NOT NULL CHECK (cost >= 0), -- units that it takes, or would
    rank_at         timestamptz NOT NULL, -- the order in its queue
    entered_at      timestamptz NOT NULL,
    next_step_at    timestamptz, -- when its queue asks less of agents, or a preference or an exclusion ends
    preferred_agent bigint REFERENCES agents (user_id),
    preferred_until timestamptz,
    agent_id        bigint REFERENCES agents (user_id), -- offered to, or assigned to
    skills          bigint[] NOT NULL DEFAULT '{}', -- as in routing_needs: a decision reads many rows, and each once
    levels          smallint[] NOT NULL DEFAULT '{}',
    CHECK (cardinality(skills) = cardinality(levels)),
    CHECK (state <> 'queued' OR queue_id IS NOT NULL),
    CHECK ((state IN ('offered', 'assigned')) = (agent_id IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX routing_items_waiting ON routing_items (queue_id, rank_at, ticket_id) WHERE state = 'queued';
CREATE INDEX routing_items_step ON routing_items (next_step_at) WHERE state = 'queued' AND next_step_at IS NOT NULL;
CREATE INDEX routing_items_preferred ON routing_items (preferred_agent) WHERE state = 'queued' AND preferred_agent IS NOT NULL;
CREATE INDEX routing_items_agent ON routing_items (agent_id) WHERE agent_id IS NOT NULL;

CREATE TABLE routing_needs (
    ticket_id bigint NOT NULL REFERENCES tickets (id),
    skill_id  bigint NOT NULL REFERENCES skills (id),
    level     smallint NOT NULL CHECK (level BETWEEN 1 AND 5),
    PRIMARY KEY (ticket_id, skill_id)
);

CREATE TABLE routing_exclusions (
    ticket_id bigint NOT NULL REFERENCES tickets (id),
    agent_id  bigint NOT NULL REFERENCES agents (user_id),
    until     timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, agent_id)
);
CREATE INDEX routing_exclusions_agent ON routing_exclusions (agent_id, until);

CREATE TABLE offers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id  bigint NOT NULL REFERENCES tickets (id),
    agent_id   bigint NOT NULL REFERENCES agents (user_id),
    queue_id   bigint REFERENCES queues (id),
    state      text NOT NULL CHECK (state IN ('pending', 'accepted', 'declined', 'expired', 'withdrawn', 'released')),
    cost       integer NOT NULL CHECK (cost >= 0),
    made_at    timestamptz NOT NULL,
    expires_at timestamptz, -- null: taken at once
    decided_at timestamptz,
    ended_at   timestamptz,
    CHECK ((state IN ('pending', 'accepted')) = (ended_at IS NULL))
) WITH (fillfactor = 80);
-- One ticket, one agent.
CREATE UNIQUE INDEX offers_one ON offers (ticket_id) WHERE state IN ('pending', 'accepted');
CREATE INDEX offers_expiry ON offers (expires_at) WHERE state = 'pending';
CREATE INDEX offers_agent ON offers (agent_id) WHERE state IN ('pending', 'accepted');
CREATE INDEX offers_made ON offers (queue_id, made_at);
CREATE INDEX offers_decided ON offers (queue_id, decided_at) WHERE decided_at IS NOT NULL;

CREATE TABLE sla_clocks (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id      bigint NOT NULL REFERENCES tickets (id),
    metric         text NOT NULL CHECK (metric IN ('pickup', 'first_reply', 'next_reply', 'resolution')),
    instance       integer NOT NULL CHECK (instance > 0),
    state          text NOT NULL CHECK (state IN ('running', 'paused', 'met', 'cancelled')),
    -- By what it was last planned. It is planned anew when its queue says otherwise.
    policy_id        bigint NOT NULL DEFAULT 0,
    policy_version   integer NOT NULL DEFAULT 0,
    calendar_id      bigint NOT NULL DEFAULT 0,
    calendar_version integer NOT NULL DEFAULT 0,
    target_ns      bigint NOT NULL DEFAULT 0 CHECK (target_ns >= 0), -- 0: measured and never due
    around         boolean NOT NULL DEFAULT false,
    consumed_ns    bigint NOT NULL DEFAULT 0 CHECK (consumed_ns >= 0),
    started_at     timestamptz NOT NULL,
    resumed_at     timestamptz,
    due_at         timestamptz,
    ended_at       timestamptz,
    breached_at    timestamptz,
    warned         smallint NOT NULL DEFAULT 0,
    fire_at        timestamptz, -- when it wants to be looked at
    UNIQUE (ticket_id, metric, instance),
    CHECK ((state = 'running') = (resumed_at IS NOT NULL)),
    CHECK ((state IN ('met', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK (state = 'running' OR fire_at IS NULL)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX sla_clocks_open ON sla_clocks (ticket_id, metric) WHERE state IN ('running', 'paused');
CREATE INDEX sla_clocks_fire ON sla_clocks (fire_at) WHERE fire_at IS NOT NULL;
CREATE INDEX sla_clocks_ended ON sla_clocks (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sla_clocks_breached ON sla_clocks (breached_at) WHERE breached_at IS NOT NULL;

-- The events of tickets and agents, written by the persister from the log as those
-- of rooms are. The desk is one feed: it is read by seq, whatever the subject.
CREATE TABLE desk_heads (
    subject  text PRIMARY KEY,
    last_seq bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE desk_events (
    seq     bigint PRIMARY KEY,
    subject text NOT NULL,
    prev    bigint NOT NULL, -- of the same subject
    type    text NOT NULL,
    msg_id  text NOT NULL DEFAULT '', -- the entry's ID in the log
    payload bytea NOT NULL
);
CREATE INDEX desk_events_subject ON desk_events (subject, seq);

-- Answers to repeated requests that make a ticket.
ALTER TABLE idempotency_keys ADD COLUMN ticket_id bigint REFERENCES tickets (id);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
