-- +goose Up

-- Offers are history: they name a user, so that whoever made some may be taken from the agents.
-- Whom a waiting ticket is kept for is no longer of interest then.
ALTER TABLE offers
    DROP CONSTRAINT offers_agent_id_fkey,
    ADD CONSTRAINT offers_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES users (id);
ALTER TABLE routing_items
    DROP CONSTRAINT routing_items_preferred_agent_fkey,
    ADD CONSTRAINT routing_items_preferred_agent_fkey FOREIGN KEY (preferred_agent) REFERENCES agents (user_id) ON DELETE SET NULL;

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
