package deskplay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// within is how long the judge may read.
const within = 2 * time.Minute

// Check is what one kind of look came to.
type Check struct {
	Name    string
	Looked  int      // at how many
	Differs []string // what is not as it should be
}

func (c *Check) differ(format string, args ...any) {
	c.Differs = append(c.Differs, fmt.Sprintf(format, args...))
}

// settled returns nil when all that was said is stored and heard, and all that was
// done is told.
func settled(ctx context.Context, db *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, db.Copy())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var outbox, inbox int
	if err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM ticket_inbox)`).Scan(&outbox, &inbox); err != nil {
		return err
	}
	if outbox+inbox > 0 {
		return fmt.Errorf("%d events are not told, %d messages not heard", outbox, inbox)
	}
	return nil
}

// judge reads what is stored, and compares.
func (p *play) judge(ctx context.Context) (*Report, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r := &Report{Config: p.Config, Took: p.took, Counts: p.counts, Trouble: p.trouble, Brands: len(p.queues), Crew: len(p.crew)}
	for end := time.Now().Add(10 * time.Second); ; pause(ctx, 200*time.Millisecond) {
		err := settled(ctx, p.Hub.Database)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			r.Trouble = append(r.Trouble, "the desk does not come to rest: "+err.Error())
			break
		}
	}
	conn, err := pgx.ConnectConfig(ctx, p.Hub.Database.Copy())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	b := &bench{play: p, conn: conn}
	if err := b.read(ctx); err != nil {
		return nil, err
	}
	for _, check := range []func(context.Context) (Check, error){
		b.handled, b.said, b.once, b.oneAgent, b.capacity, b.counters, b.told, b.replays, b.clocks,
	} {
		c, err := check(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		r.Checks = append(r.Checks, c)
	}
	r.Offered = b.waits()
	return r, nil
}

// bench is what the judge has before them.
type bench struct {
	*play
	conn   *pgx.Conn
	ids    []int64
	crew   []int64
	offers []offer
}

// offer is one, as it is stored. It holds its agent's units from made to ended.
type offer struct {
	id, ticket, agent int64
	state             string
	cost              int
	made              time.Time
	decided, ended    *time.Time
}

func (b *bench) read(ctx context.Context) error {
	for id := range b.cases {
		b.ids = append(b.ids, int64(id))
	}
	slices.Sort(b.ids)
	for _, a := range b.play.crew {
		b.crew = append(b.crew, int64(a.UserID))
	}
	rows, err := b.conn.Query(ctx, `SELECT id, ticket_id, agent_id, state, cost, made_at, decided_at, ended_at FROM offers
		WHERE ticket_id = ANY($1) OR agent_id = ANY($2) ORDER BY made_at, id`, b.ids, b.crew)
	if err != nil {
		return err
	}
	b.offers, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (o offer, err error) {
		err = row.Scan(&o.id, &o.ticket, &o.agent, &o.state, &o.cost, &o.made, &o.decided, &o.ended)
		return o, err
	})
	return err
}

// list reads rows of an id and a text, each of which differs.
func (b *bench) list(ctx context.Context, c *Check, format, sql string, args ...any) error {
	rows, err := b.conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var id int64
	var text string
	_, err = pgx.ForEachRow(rows, []any{&id, &text}, func() error { c.differ(format, id, text); return nil })
	return err
}

// handled: each thread is one ticket, which a person answered and its agent solved.
func (b *bench) handled(ctx context.Context) (Check, error) {
	c := Check{Name: "handled", Looked: len(b.ids)}
	if len(b.ids) != len(b.Threads) {
		c.differ("%d threads are %d tickets", len(b.Threads), len(b.ids))
	}
	err := b.list(ctx, &c, "ticket %d is %s", `SELECT id, status || ' of ' || coalesce(assignee_id, 0) || ', solved by ' || coalesce(solved_by, 0) FROM tickets
		WHERE id = ANY($1) AND (status NOT IN ('solved', 'closed') OR assignee_id IS NULL OR first_reply_at IS NULL OR solved_by IS DISTINCT FROM assignee_id)`, b.ids)
	var rooms int
	return c, firstOf(err, errors.Join(b.conn.QueryRow(ctx, `SELECT count(*) FROM tickets WHERE id = ANY($1)`, b.ids).Scan(&rooms), found(rooms, len(b.ids))))
}

func found(got, want int) error {
	if got != want {
		return fmt.Errorf("%d tickets are stored of %d", got, want)
	}
	return nil
}

// said: what people wrote is in their tickets' rooms, each message as often as it was
// said.
func (b *bench) said(ctx context.Context) (Check, error) {
	c := Check{Name: "messages"}
	for _, id := range b.ids {
		s := b.cases[vezechat.TicketID(id)]
		rows, err := b.conn.Query(ctx, `SELECT text, count(*) FROM messages WHERE room_id = $1 GROUP BY text`, int64(s.ticket.Room))
		if err != nil {
			return c, err
		}
		got := map[string]int{}
		var text string
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&text, &n}, func() error { got[text] = n; c.Looked += n; return nil }); err != nil {
			return c, err
		}
		for text, want := range s.said {
			if got[text] != want {
				c.differ("ticket %d: %d times instead of %d: %q", id, got[text], want, vezechat.Clip(text, 40))
			}
			delete(got, text)
		}
		for text := range got {
			c.differ("ticket %d: nobody said %q", id, vezechat.Clip(text, 40))
		}
	}
	return c, nil
}

// once: each time an agent got a ticket there was one accepted offer, one row of its
// history and one event.
func (b *bench) once(ctx context.Context) (Check, error) {
	c := Check{Name: "assigned once"}
	const sql = `SELECT t.id, o.n, h.n, e.n FROM unnest($1::bigint[]) AS t (id),
		LATERAL (SELECT count(*) AS n FROM offers WHERE ticket_id = t.id AND state IN ('accepted', 'released')) o,
		LATERAL (SELECT count(*) AS n FROM ticket_history WHERE ticket_id = t.id AND new ? 'assignee_id') h,
		LATERAL (SELECT count(*) AS n FROM desk_events WHERE subject = 'veze.ticket.' || t.id AND type = 'ticket.assigned') e`
	rows, err := b.conn.Query(ctx, sql, b.ids)
	if err != nil {
		return c, err
	}
	var id int64
	var offers, changes, events int
	_, err = pgx.ForEachRow(rows, []any{&id, &offers, &changes, &events}, func() error {
		c.Looked += offers
		if offers != changes || offers != events || offers == 0 {
			c.differ("ticket %d: %d accepted offers, %d changes of its agent, %d events", id, offers, changes, events)
		}
		return nil
	})
	return c, err
}

// oneAgent: no two offers of a ticket were pending or accepted at a time.
func (b *bench) oneAgent(context.Context) (Check, error) {
	c := Check{Name: "one agent", Looked: len(b.offers)}
	last := map[int64]offer{}
	for _, o := range b.offers {
		if before, ok := last[o.ticket]; ok && (before.ended == nil || before.ended.After(o.made)) {
			c.differ("ticket %d: offer %d was made before offer %d had ended", o.ticket, o.id, before.id)
		}
		last[o.ticket] = o
	}
	return c, nil
}

// skew is how far the times of two changes of an agent's units may be off: a change
// takes its time when it has its ticket, and its turn when it has the agent.
const skew = 500 * time.Millisecond

// capacity: nobody had more than they had units for, at any moment for longer than
// skew.
func (b *bench) capacity(context.Context) (Check, error) {
	c := Check{Name: "capacity"}
	type change struct {
		at   time.Time
		cost int
	}
	changes := map[int64][]change{}
	for _, o := range b.offers {
		if !slices.Contains(b.crew, o.agent) {
			continue
		}
		changes[o.agent] = append(changes[o.agent], change{o.made, o.cost})
		if o.ended != nil {
			changes[o.agent] = append(changes[o.agent], change{*o.ended, -o.cost})
		}
	}
	for id, list := range changes {
		slices.SortFunc(list, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.cost, b.cost)) })
		used := 0
		for i, ch := range list {
			used += ch.cost
			c.Looked++
			if used > capacity && (i+1 == len(list) || list[i+1].at.Sub(ch.at) > skew) {
				c.differ("agent %d had %d units of %d from %s on", id, used, capacity, ch.at.Format(time.TimeOnly))
			}
		}
	}
	return c, nil
}

// counters: what is counted as it happens is what a recount gives.
func (b *bench) counters(ctx context.Context) (Check, error) {
	c := Check{Name: "counters", Looked: len(b.crew) + len(b.queues)}
	const units = `SELECT a.user_id, a.used || ' units, by offers ' || coalesce(o.n, 0) FROM agents a
		LEFT JOIN (SELECT agent_id, sum(cost) AS n FROM offers WHERE state IN ('pending', 'accepted') GROUP BY agent_id) o ON o.agent_id = a.user_id
		WHERE a.user_id = ANY($1) AND a.used <> coalesce(o.n, 0)`
	if err := b.list(ctx, &c, "agent %d has %s", units, b.crew); err != nil {
		return c, err
	}
	board, err := again(ctx, b.play, func(ctx context.Context) (vezechat.Board, error) { return b.Hub.Desk.Board(ctx, b.boss) })
	if err != nil {
		return c, err
	}
	for _, q := range board.Queues {
		var waiting, offered, assigned int
		const recount = `SELECT count(*) FILTER (WHERE t.assignee_id IS NULL AND o.id IS NULL), count(*) FILTER (WHERE o.state = 'pending'), count(*) FILTER (WHERE o.state = 'accepted')
			FROM tickets t LEFT JOIN offers o ON o.ticket_id = t.id AND o.state IN ('pending', 'accepted') WHERE t.queue_id = $1 AND t.status IN ('new', 'open')`
		if err := b.conn.QueryRow(ctx, recount, int64(q.Queue)).Scan(&waiting, &offered, &assigned); err != nil {
			return c, err
		}
		if waiting != q.Waiting || offered != q.Offered || assigned != q.Assigned {
			c.differ("queue %q: the board has %d waiting, %d offered, %d assigned, a recount %d, %d, %d", q.Name, q.Waiting, q.Offered, q.Assigned, waiting, offered, assigned)
		}
	}
	return c, nil
}

// told: each change of a ticket is in its events, once, in order.
func (b *bench) told(ctx context.Context) (Check, error) {
	c := Check{Name: "events"}
	rows, err := b.conn.Query(ctx, `SELECT t.id, t.version, array_agg(DISTINCT (convert_from(e.payload, 'UTF8')::jsonb->>'version')::int ORDER BY (convert_from(e.payload, 'UTF8')::jsonb->>'version')::int), count(*), count(DISTINCT e.msg_id)
		FROM tickets t JOIN desk_events e ON e.subject = 'veze.ticket.' || t.id WHERE t.id = ANY($1) GROUP BY t.id`, b.ids)
	if err != nil {
		return c, err
	}
	var id int64
	var version, events, distinct, seen int
	var versions []int
	_, err = pgx.ForEachRow(rows, []any{&id, &version, &versions, &events, &distinct}, func() error {
		seen++
		c.Looked += events
		if events != distinct {
			c.differ("ticket %d: %d events, %d of them different", id, events, distinct)
		}
		if len(versions) != version || versions[0] != 1 || versions[len(versions)-1] != version {
			c.differ("ticket %d: %d versions, its events tell %v", id, version, versions)
		}
		return nil
	})
	return c, firstOf(err, found(seen, len(b.ids)))
}

// replays: a ticket's history, one change after the other, gives what it is now.
func (b *bench) replays(ctx context.Context) (Check, error) {
	c := Check{Name: "histories"}
	for _, id := range b.ids {
		r := vezechat.TicketRef{Caller: b.boss, TicketID: vezechat.TicketID(id)}
		now, err := again(ctx, b.play, func(ctx context.Context) (vezechat.Ticket, error) { return b.Hub.Tickets.Ticket(ctx, r) })
		if err != nil {
			return c, err
		}
		state := map[string]any{}
		for version := 0; version < now.Version; {
			list, err := again(ctx, b.play, func(ctx context.Context) ([]vezechat.TicketChange, error) {
				return b.Hub.Tickets.TicketHistory(ctx, vezechat.TicketHistory{TicketRef: r, After: version})
			})
			if err != nil {
				return c, err
			}
			if len(list) == 0 {
				c.differ("ticket %d: version %d, and a history of %d", id, now.Version, version)
				break
			}
			for _, ch := range list {
				version = ch.Version
				c.Looked++
				if err := b.change(&c, id, state, &ch); err != nil {
					return c, err
				}
			}
		}
		if err := compare(&c, id, state, &now); err != nil {
			return c, err
		}
	}
	return c, nil
}

// change makes one change of a state, which has to be what the change says that it was.
func (b *bench) change(c *Check, id int64, state map[string]any, ch *vezechat.TicketChange) error {
	for k, raw := range ch.Old {
		was, err := plain(raw)
		if err != nil {
			return err
		}
		if got := text(state[k]); got != text(was) {
			c.differ("ticket %d, version %d: %s was %s, the change says %s", id, ch.Version, k, got, text(was))
		}
		delete(state, k)
	}
	for k, raw := range ch.New {
		v, err := plain(raw)
		if err != nil {
			return err
		}
		state[k] = v
	}
	return nil
}

// compare compares a state with a ticket, but for what a history leaves out.
func compare(c *Check, id int64, state map[string]any, now *vezechat.Ticket) error {
	raw, err := json.Marshal(now)
	if err != nil {
		return err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	for _, k := range []string{"id", "version", "updated_at", "requester", "assignee", "rating"} {
		delete(fields, k)
	}
	for k, v := range fields {
		if got := text(state[k]); got != text(v) {
			c.differ("ticket %d: %s replays to %s, and is %s", id, k, got, text(v))
		}
	}
	return nil
}

func plain(raw json.RawMessage) (v any, err error) {
	err = json.Unmarshal(raw, &v)
	return v, err
}

// text is a value in one form: times are instants, however they are written.
func text(v any) string {
	if s, ok := v.(string); ok {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.UTC().String()
		}
	}
	return fmt.Sprint(v)
}

// clocksThatDiffer compares clocks with what was said and told. The play's policy has no
// calendar, and nothing pauses a reply: it is late if it came after its target.
const clocksThatDiffer = `
WITH c AS (
    SELECT k.*, k.started_at + k.target_ns / 1000 * interval '1 us' AS due,
        (SELECT min(m.created_at) FROM messages m WHERE m.room_id = t.room_id AND 'staff' = ANY(m.flags) AND NOT 'bot' = ANY(m.flags)) AS answered
    FROM sla_clocks k JOIN tickets t ON t.id = k.ticket_id WHERE k.ticket_id = ANY($1)
), told AS (
    SELECT ticket_id, type, metric, percent, count(*) AS n FROM (
        SELECT (p->>'ticket_id')::bigint AS ticket_id, type, p->>'metric' AS metric, coalesce((p->>'percent')::int, 0) AS percent
        FROM (SELECT type, convert_from(payload, 'UTF8')::jsonb AS p FROM desk_events WHERE type IN ('ticket.sla.met', 'ticket.sla.breached', 'ticket.sla.warned')) e
    ) e GROUP BY 1, 2, 3, 4
)
SELECT ticket_id, metric || ' is ' || state FROM c WHERE state IN ('running', 'paused')
UNION ALL
SELECT ticket_id, 'first_reply ended ' || coalesce(ended_at::text, 'never') || ', and was given ' || coalesce(answered::text, 'never')
FROM c WHERE metric = 'first_reply' AND (state = 'met') IS DISTINCT FROM (answered IS NOT NULL)
UNION ALL
SELECT ticket_id, 'first_reply came ' || answered || ', due ' || due || ', breached ' || coalesce(breached_at::text, 'never')
FROM c WHERE metric = 'first_reply' AND state = 'met' AND breached_at IS DISTINCT FROM CASE WHEN answered > due THEN due END
UNION ALL
SELECT ticket_id, 'next_reply ended ' || ended_at || ', due ' || due || ', breached ' || coalesce(breached_at::text, 'never')
FROM c WHERE metric = 'next_reply' AND state = 'met' AND breached_at IS DISTINCT FROM CASE WHEN ended_at > due THEN due END
UNION ALL
SELECT c.ticket_id, c.metric || ': ' || count(*) FILTER (WHERE breached_at IS NOT NULL) || ' breached, told ' || coalesce(max(told.n), 0)
FROM c LEFT JOIN told ON told.ticket_id = c.ticket_id AND told.metric = c.metric AND told.type = 'ticket.sla.breached'
GROUP BY c.ticket_id, c.metric HAVING count(*) FILTER (WHERE breached_at IS NOT NULL) <> coalesce(max(told.n), 0)
UNION ALL
SELECT c.ticket_id, c.metric || ': ' || count(*) || ' of them, warned of ' || told.n || ' times at ' || told.percent
FROM c JOIN told ON told.ticket_id = c.ticket_id AND told.metric = c.metric AND told.type = 'ticket.sla.warned'
GROUP BY c.ticket_id, c.metric, told.n, told.percent HAVING told.n > count(*)
UNION ALL
SELECT c.ticket_id, c.metric || ': ' || count(*) FILTER (WHERE state = 'met') || ' met, told ' || coalesce(max(told.n), 0)
FROM c LEFT JOIN told ON told.ticket_id = c.ticket_id AND told.metric = c.metric AND told.type = 'ticket.sla.met'
WHERE c.metric IN ('first_reply', 'next_reply')
GROUP BY c.ticket_id, c.metric HAVING count(*) FILTER (WHERE state = 'met') <> coalesce(max(told.n), 0)`

// clocks: each is late if what it waits for was, by what was said, and each breach, warning and
// end is told once.
func (b *bench) clocks(ctx context.Context) (Check, error) {
	c := Check{Name: "clocks"}
	var tickets int
	err := b.conn.QueryRow(ctx, `SELECT count(*), count(DISTINCT ticket_id) FROM sla_clocks WHERE ticket_id = ANY($1) AND target_ns > 0`, b.ids).Scan(&c.Looked, &tickets)
	if err := firstOf(err, found(tickets, len(b.ids))); err != nil {
		return c, err
	}
	return c, b.list(ctx, &c, "ticket %d: %s", clocksThatDiffer, b.ids)
}

// waits are how long tickets waited for their first offer, sorted.
func (b *bench) waits() (list []time.Duration) {
	seen := map[int64]bool{}
	for _, o := range b.offers {
		s := b.cases[vezechat.TicketID(o.ticket)]
		if s == nil || seen[o.ticket] {
			continue
		}
		seen[o.ticket] = true
		list = append(list, o.made.Sub(s.ticket.CreatedAt))
	}
	slices.Sort(list)
	return list
}
