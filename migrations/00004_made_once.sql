-- +goose Up

-- Answers to repeated requests that make a setting, a view or a macro: what was
-- answered at first.
ALTER TABLE idempotency_keys ADD COLUMN made_kind text, ADD COLUMN made jsonb;

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
