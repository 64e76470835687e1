-- +goose Up
-- When somebody was signed out at their provider: sessions that began before are over. It
-- is told to edges as sanctions are.
ALTER TABLE hub_sanctions ADD COLUMN signed_out_at timestamptz;
