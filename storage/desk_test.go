package storage_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/redistest"
	"vezeuniqverse.com/vezechat/storage"
)

// roles runs the storage and the bridge role on a real NATS, until stop.
func (w *world) roles(b *bus.Bus, mirror *redisstream.Mirror) (stop func()) {
	r := storage.New(storage.Config{Store: w.db, Reader: b, Log: b, Advancer: b, Registerer: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 2)
	go func() { done <- r.Run(ctx, func() {}) }()
	go func() { done <- mirror.Run(ctx, func() {}) }()
	return func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				w.t.Error(err)
			}
		}
	}
}

// deskEvents are the stored events of tickets and agents, as "type ticket version".
func (w *world) deskEvents() (out []string) {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT payload FROM desk_events ORDER BY seq`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, deskLine(b))
	}
	return out
}

func deskLine(payload []byte) string {
	e, err := vezechat.ParseEvent(payload)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %d %d", e.Type, e.TicketID, e.Version)
}

// What is done to tickets comes out of the outbox into the log, and from it into
// PostgreSQL and Redis: each event once, in the same order, each naming the one
// before of its ticket. A malformed one goes to the dead letters and holds up
// nothing. A log that is lost takes none of it with it.
func TestRole_EventsOfTickets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	ctx := t.Context()
	b, rd := natstest.New(t), redistest.New(t)
	mirror := redisstream.New(redisstream.Config{Redis: rd, Reader: b, Log: b, Chain: b, Registerer: prometheus.NewRegistry()})
	staff := w.ann
	staff.Scopes = append(staff.Scopes, vezechat.ScopeTicketManage)
	create := func(subject string) vezechat.Ticket {
		tk, err := w.db.CreateTicket(ctx, vezechat.CreateTicket{Caller: staff, Subject: subject, Body: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		return tk
	}
	move := func(id vezechat.TicketID, m vezechat.Move) {
		if _, err := w.db.MoveTicket(ctx, vezechat.MoveTicket{TicketRef: vezechat.TicketRef{Caller: staff, TicketID: id}, Move: m}); err != nil {
			t.Fatal(err)
		}
	}
	raw := func(subject, id, payload string) {
		if _, err := b.Append(ctx, vezechat.Entry{Subject: subject, ID: id, Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	stop := w.roles(b, mirror)
	first, second := create("one"), create("two")
	raw(vezechat.TicketSubject(first.ID), "bad-1", `{"type":"ticket.solved","ticket_id":1,"at":"2026-11-23T12:00:00.000Z"}`)
	raw(vezechat.TicketSubject(4711), "bad-2", `{"type":"ticket.solved","ticket_id":4711,"requester_id":1,"version":1,"at":"2026-11-23T12:00:00.000Z"}`)
	raw(vezechat.TicketSubject(first.ID), "bad-3", `{"type":"ticket.solved","ticket_id":`+second.ID.String()+`,"requester_id":1,"version":1,"at":"2026-11-23T12:00:00.000Z"}`)
	away := vezechat.Event{Type: vezechat.EventAgentStatus, UserID: w.ann.UserID, Handle: "@ann", Status: string(vezechat.AgentAway), At: time.Now()}
	raw(vezechat.SubjectOf(&away), "agent-1", string(vezechat.AppendEvent(nil, &away)))
	heard := 0
	w.until("the first messages are heard", func() bool {
		n, err := w.db.DrainInbox(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		heard += n
		return heard == 2
	})
	move(first.ID, vezechat.MoveSolve)
	move(second.ID, vezechat.MoveSpam)
	empty := func() bool { n, _, err := w.db.OutboxBacklog(ctx); return err == nil && n == 0 }
	w.until("all is in the log", func() bool { st, err := b.State(ctx); return err == nil && empty() && w.stored() >= st.Last })
	events := w.deskEvents()
	count := map[string]int{}
	for _, e := range events {
		count[e]++
	}
	for _, e := range []string{"ticket.created 1 1", "ticket.created 2 1", "ticket.commented 1 2", "ticket.commented 2 2", "ticket.solved 1 3", "ticket.closed 2 3", "agent.status.changed 0 0"} {
		if count[e] != 1 {
			t.Errorf("%s %d times", e, count[e])
		}
	}
	if len(events) != 7 {
		t.Errorf("events %v", events)
	}
	if n := w.letters(b); n != 3 {
		t.Errorf("%d dead letters, want 3", n)
	}
	w.until("redis has it", func() bool { return len(w.mirrored(rd.XRange(ctx, redisstream.DefaultStream, "-", "+").Val())) == 7+3 })
	if got := w.mirrored(rd.XRange(ctx, redisstream.DefaultStream, "-", "+").Val()); !inOrder(events, got) {
		t.Errorf("redis has %v, postgres %v", got, events)
	}
	stop()
	w.logLost(b, mirror, first.ID, move)
}

// logLost loses the log, with an event appended to the new one before anybody
// noticed, and others waiting in the outbox.
func (w *world) logLost(b *bus.Bus, mirror *redisstream.Mirror, id vezechat.TicketID, move func(vezechat.TicketID, vezechat.Move)) {
	w.t.Helper()
	ctx, before, had := w.t.Context(), w.stored(), len(w.deskEvents())
	if err := b.JetStream().DeleteStream(ctx, vezechat.StreamChat); err != nil {
		w.t.Fatal(err)
	}
	if err := b.Setup(ctx, bus.Streams{MaxBytes: 64 << 20}); err != nil {
		w.t.Fatal(err)
	}
	back := vezechat.Event{Type: vezechat.EventAgentStatus, UserID: w.ann.UserID, Handle: "@ann", Status: string(vezechat.AgentOnline), At: time.Now()}
	if _, err := b.Append(ctx, vezechat.Entry{Subject: vezechat.SubjectOf(&back), ID: "agent-2", Payload: vezechat.AppendEvent(nil, &back)}); err != nil {
		w.t.Fatal(err)
	}
	move(id, vezechat.MoveReopen)
	stop := w.roles(b, mirror)
	defer stop()
	w.until("both are stored", func() bool { return len(w.deskEvents()) >= had+2 })
	w.until("the outbox is empty", func() bool { n, _, err := w.db.OutboxBacklog(ctx); return err == nil && n == 0 })
	got := w.deskEvents()[had:]
	if len(got) != 2 || !(got[0] == "agent.status.changed 0 0" && got[1] == "ticket.reopened 1 4" || got[1] == "agent.status.changed 0 0" && got[0] == "ticket.reopened 1 4") {
		w.t.Errorf("after the log was lost: %v", got)
	}
	var low, broken int
	err := w.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE seq <= $1), count(*) FILTER (WHERE prev <> coalesce((SELECT max(o.seq) FROM desk_events o WHERE o.subject = d.subject AND o.seq < d.seq), 0))
		FROM desk_events d`, int64(before)).Scan(&low, &broken)
	if err != nil || low != had || broken != 0 {
		w.t.Errorf("%d at or below %d, want %d; %d do not name the one before; %v", low, before, had, broken, err)
	}
}

// letters is how many dead letters there are.
func (w *world) letters(b *bus.Bus) uint64 {
	w.t.Helper()
	st, err := b.JetStream().Stream(w.t.Context(), vezechat.StreamDLQ)
	if err != nil {
		w.t.Fatal(err)
	}
	return st.CachedInfo().State.Msgs
}

// mirrored are the entries of the Redis stream that are of tickets and agents.
func (w *world) mirrored(entries []redis.XMessage) (out []string) {
	w.t.Helper()
	for _, e := range entries {
		payload, _ := e.Values["payload"].(string)
		if typ := vezechat.TypeOf([]byte(payload)); typ.Topic() == vezechat.TopicTicket || typ.Topic() == vezechat.TopicAgent {
			out = append(out, deskLine([]byte(payload)))
		}
	}
	return out
}

// inOrder reports whether all of want are in have, each once and in their order.
func inOrder(want, have []string) bool {
	have = slices.DeleteFunc(slices.Clone(have), func(s string) bool { return !slices.Contains(want, s) })
	return slices.Equal(want, have)
}
