-- +goose Up

-- Which messages are deleted or hidden: resume asks this of each event, and would
-- read each one's wide row for it. It has few rows and costs a new message nothing.
CREATE INDEX messages_gone ON messages (room_id, message_id)
    WHERE deleted_at IS NOT NULL OR hidden_at IS NOT NULL;

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
