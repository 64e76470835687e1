package postgres_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Nobody who is there can take it, nor ever will: the visitor is told, and the supervisor.
func TestTicketPlace_NobodyWithTheSkill(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		steps  []vezechat.RouteStep
		level  int // of the agent in it; 0: they have not got it
		tier   int
		nobody bool
	}{
		{"without the skill", nil, 0, 1, true},
		{"too little of it", nil, 2, 1, true},
		{"enough of it", nil, 3, 1, false},
		{"a tier that never opens", nil, 3, 2, true},
		{"a tier that opens later", []vezechat.RouteStep{{After: 60, Tier: 2}}, 3, 2, false},
		{"the queue asks for less later", []vezechat.RouteStep{{After: 60, Lower: 1}}, 2, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newRouteWorld(t)
			k, err := w.PutSkill(t.Context(), vezechat.PutSkill{Caller: w.boss, Skill: vezechat.Skill{Name: "klingon"}})
			if err != nil {
				t.Fatal(err)
			}
			a := w.agent("eve", 1000)
			for i := range vezechat.EstimateOf { // a pace
				w.claim(w.mail(fmt.Sprint("mail ", i)).ID, a, vezechat.ClaimAssigned)
			}
			q := w.queue
			q.Steps = tt.steps
			w.putQueue(q)
			r := vezechat.PutAgent{Caller: w.boss, ID: a.UserID, CanReply: true, Capacity: 1000, Places: []vezechat.Place{{Queue: q.ID, Tier: tt.tier}}}
			if tt.level > 0 {
				r.Skills = []vezechat.SkillLevel{{Skill: k.ID, Level: tt.level}}
			}
			if _, err := w.PutAgent(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "nuqneH", Channel: vezechat.ChannelChat, Queue: q.ID, Skills: []vezechat.SkillLevel{{Skill: k.ID, Level: 3}}})
			p, err := w.TicketPlace(t.Context(), tref(w.ann, tk.ID))
			if err != nil || p.Nobody != tt.nobody || (p.Late == 0) != tt.nobody {
				t.Errorf("%+v, %v", p, err)
			}
			if done, err := w.Defer(t.Context(), tk.ID); done != tt.nobody || err != nil {
				t.Errorf("deferred: %v, %v", done, err)
			}
		})
	}
}

// The board promises no time when places do not.
func TestBoard_Nobody(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 100)
	for i := range vezechat.EstimateOf {
		w.claim(w.mail(fmt.Sprint("mail ", i)).ID, a, vezechat.ClaimAssigned)
	}
	w.clock.advance(time.Minute)
	for status, nobody := range map[vezechat.AgentStatus]bool{vezechat.AgentOnline: false, vezechat.AgentAway: true} {
		w.status(a, status)
		b, err := w.Board(t.Context(), w.boss)
		if err != nil || len(b.Queues) != 1 {
			t.Fatalf("%+v, %v", b, err)
		}
		if q := b.Queues[0]; q.Nobody != nobody || (q.Late == 0) != nobody {
			t.Errorf("%s: %+v", status, q)
		}
	}
}

// A chat in no queue: nobody is asked to take it, so it is not live, and the visitor is told.
func TestTicketPlace_ChatInNoQueue(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.agent("eve", 100)
	inNone := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "hello", Channel: vezechat.ChannelChat})
	out := w.chat("hello")
	if _, err := w.PatchTicket(t.Context(), vezechat.PatchTicket{TicketRef: tref(w.staff, out.ID), Queue: new(vezechat.QueueID(0))}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []vezechat.TicketID{inNone.ID, out.ID} {
		p, err := w.TicketPlace(t.Context(), tref(w.ann, id))
		if err != nil || p.Live || !p.Nobody {
			t.Errorf("%d: %+v, %v", id, p, err)
		}
	}
	w.whole()
}

// An offer to who may not have the ticket any more is withdrawn, and is too late to accept.
func TestOffer_WithdrawnFromWhoMayNotHaveIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		put  func(*vezechat.PutAgent)
		gone bool
	}{
		{"reply", func(r *vezechat.PutAgent) { r.CanReply = false }, true},
		{"place", func(r *vezechat.PutAgent) { r.Places = nil }, true},
		{"skill", func(r *vezechat.PutAgent) { r.Skills = nil }, true},
		{"too little skill", func(r *vezechat.PutAgent) { r.Skills[0].Level = 1 }, true},
		{"capacity", func(r *vezechat.PutAgent) { r.Capacity = 1 }, false},
	} {
		for _, found := range []bool{true, false} { // by what takes back, or when they accept
			t.Run(fmt.Sprint(tt.name, " ", found), func(t *testing.T) {
				t.Parallel()
				w := newRouteWorld(t)
				k, err := w.PutSkill(t.Context(), vezechat.PutSkill{Caller: w.boss, Skill: vezechat.Skill{Name: "klingon"}})
				if err != nil {
					t.Fatal(err)
				}
				need := []vezechat.SkillLevel{{Skill: k.ID, Level: 2}}
				a := w.agent("eve", 100, need...)
				tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "nuqneH", Channel: vezechat.ChannelChat, Queue: w.queue.ID, Skills: need})
				w.claim(tk.ID, a, vezechat.ClaimOffered)
				o := w.offerTo(a)
				r := vezechat.PutAgent{Caller: w.boss, ID: a.UserID, CanReply: true, Capacity: 100, Skills: slices.Clone(need), Places: []vezechat.Place{{Queue: w.queue.ID, Tier: 1}}}
				tt.put(&r)
				if found {
					_, err = w.PutAgent(t.Context(), r)
				} else { // whoever changed it died before anything was taken back
					_, err = w.pool.Exec(t.Context(), `WITH a AS (UPDATE agents SET can_reply = $2, capacity = $3 WHERE user_id = $1),
						p AS (DELETE FROM queue_agents WHERE agent_id = $1 AND $4),
						k AS (UPDATE agent_skills SET level = 1 WHERE agent_id = $1 AND $5) SELECT`,
						a.UserID, r.CanReply, r.Capacity, len(r.Places) == 0, len(r.Skills) == 0 || r.Skills[0].Level == 1)
				}
				if err != nil {
					t.Fatal(err)
				}
				err = w.answer(a, o.ID, true)
				if !tt.gone {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantCode(t, err, vezechat.CodeConflict)
				w.wantState(tk.ID, vezechat.ItemQueued, 0)
				w.echo()
				if n := w.count(`SELECT count(*) FROM desk_events WHERE type = $1 AND convert_from(payload, 'UTF8')::jsonb->>'reason' = 'withdrawn'`, vezechat.EventOfferExpired); n != 1 {
					t.Errorf("withdrawn %d times", n)
				}
				w.whole()
			})
		}
	}
}

// What nobody took back when it was lost is found by routers.
func TestTakeBack_OffersToWhoMayNotHaveThem(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{`UPDATE agents SET can_reply = false WHERE user_id = $1`, `DELETE FROM queue_agents WHERE agent_id = $1`} {
		w := newRouteWorld(t)
		a := w.agent("eve", 100)
		tk := w.chat("chat")
		w.claim(tk.ID, a, vezechat.ClaimOffered)
		if n, err := w.TakeBack(t.Context(), 10); n != 0 || err != nil {
			t.Fatalf("%d taken back from who may have them, %v", n, err)
		}
		if _, err := w.pool.Exec(t.Context(), sql, a.UserID); err != nil {
			t.Fatal(err)
		}
		if n, err := w.TakeBack(t.Context(), 10); n != 1 || err != nil {
			t.Errorf("%s: %d, %v", sql, n, err)
		}
		w.wantState(tk.ID, vezechat.ItemQueued, 0)
	}
}

// What a setting names that is not there is named in the refusal.
func TestSettings_NameWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	ctx := t.Context()
	agent := func(r vezechat.PutAgent) error {
		r.Caller, r.ID, r.CanReply, r.Capacity = w.boss, w.two.UserID, true, 100
		return second(w.PutAgent(ctx, r))
	}
	queue := func(q vezechat.Queue) error {
		q.Name, q.OfferSeconds = "x", 30
		return second(w.PutQueue(ctx, vezechat.PutQueue{Caller: w.boss, Queue: q}))
	}
	for want, err := range map[string]error{
		"calendar_id: there is no 9999": queue(vezechat.Queue{Calendar: 9999}),
		"policy_id: there is no 9998":   queue(vezechat.Queue{Policy: 9998}),
		"overflow_id: there is no 9997": queue(vezechat.Queue{Overflow: 9997}),
		"skill_id: there is no 9996":    agent(vezechat.PutAgent{Skills: []vezechat.SkillLevel{{Skill: 9996, Level: 1}}}),
		"queue_id: there is no 9995":    agent(vezechat.PutAgent{Places: []vezechat.Place{{Queue: 9995, Tier: 1}}}),
	} {
		wantCode(t, err, vezechat.CodeBadRequest)
		if got := vezechat.AsError(err).Message; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A queue that tickets only passed through goes; one that is referred to stays.
func TestDeleteQueue_ThatATicketWasIn(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	q := w.putQueue(vezechat.Queue{Name: "second", OfferSeconds: 30})
	tk := w.mail("mail")
	ref := vezechat.SettingRef{Caller: w.boss, ID: int64(q.ID)}
	for _, to := range []vezechat.QueueID{q.ID, w.queue.ID} {
		if _, err := w.PatchTicket(t.Context(), vezechat.PatchTicket{TicketRef: tref(w.staff, tk.ID), Queue: new(to)}); err != nil {
			t.Fatal(err)
		}
		if to == q.ID {
			wantCode(t, w.DeleteQueue(t.Context(), ref), vezechat.CodeConflict)
		}
	}
	if err := w.DeleteQueue(t.Context(), ref); err != nil {
		t.Error(err)
	}
}

// A queue gets other steps while somebody holds one of its places: that one is looked at by
// them, too, once it is free.
func TestPutQueue_StepsAgainWhatIsHeld(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	ctx := t.Context()
	held, free := w.mail("held"), w.mail("free")
	if _, err := w.StepTickets(ctx, 10); err != nil {
		t.Fatal(err)
	}
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it is committed by then
	if _, err := tx.Exec(ctx, `SELECT FROM routing_items WHERE ticket_id = $1 FOR UPDATE`, held.ID); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		q := w.queue
		q.Steps = []vezechat.RouteStep{{After: 60, Lower: 1}}
		_, err := w.PutQueue(ctx, vezechat.PutQueue{Caller: w.boss, Queue: q})
		done <- err
	}()
	stepped := func(id vezechat.TicketID) bool {
		return w.count(`SELECT count(*) FROM routing_items WHERE ticket_id = $1 AND next_step_at IS NOT NULL`, id) == 1
	}
	for !stepped(free.ID) && ctx.Err() == nil { // it does not wait for the other
		runtime.Gosched()
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || !stepped(held.ID) {
		t.Errorf("%v; stepped again: %v", err, stepped(held.ID))
	}
}
