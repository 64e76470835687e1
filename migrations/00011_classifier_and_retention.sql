-- +goose Up

-- Up to here the room's messages were erased for their age: who comes back with an older
-- cursor is told to begin anew.
ALTER TABLE rooms ADD COLUMN erased_seq bigint NOT NULL DEFAULT 0;

-- Edits of what is erased are found by the message. They are few, and cost a new message
-- nothing.
CREATE INDEX events_edits ON events (room_id, message_id) WHERE type = 'chat.message.edited';

-- Until when a held message waits for the classifier; NULL: it waits for a moderator. And
-- whether the classifier let it through.
ALTER TABLE held_messages ADD COLUMN judge_until timestamptz, ADD COLUMN judged boolean NOT NULL DEFAULT false;
CREATE INDEX held_messages_judge ON held_messages (id) WHERE judge_until IS NOT NULL;

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
