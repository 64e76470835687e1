package svc_test

import (
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// A desk is set up and worked at over the bus, on a real database: each call reaches
// what it is for, and errors keep their codes.
func TestDesk_OverTheBus(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	store, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{Wake: b.Wake})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	s, err := svc.Serve(b, "1.0.0", 4, svc.Services{Users: store, Rooms: store, Messages: store, Tickets: store, Desk: store, Support: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	woken := make(chan vezechat.Wake, 100)
	stop, err := b.Wakes(func(w vezechat.Wake) { woken <- w })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c, ctx := svc.NewClient(b), t.Context()
	who := func(name string, scopes ...vezechat.Scope) vezechat.Caller {
		u, err := c.EnsureUser(ctx, vezechat.Identity{Issuer: "test", Subject: name, Handle: name})
		if err != nil {
			t.Fatal(err)
		}
		return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: scopes}
	}
	boss, eve, ann := who("boss", vezechat.ScopeChatAdmin), who("eve", vezechat.ScopeTicketManage), who("ann", vezechat.ScopeChatWrite)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	cal, err := c.PutCalendar(ctx, vezechat.PutCalendar{Caller: boss, Calendar: vezechat.Calendar{Name: "always", Zone: "UTC", Hours: []vezechat.Hours{{Day: 1, Open: 0, Close: 24 * 60}}}})
	must("calendar", err)
	pol, err := c.PutPolicy(ctx, vezechat.PutPolicy{Caller: boss, Policy: vezechat.Policy{Name: "gold"}})
	must("policy", err)
	skill, err := c.PutSkill(ctx, vezechat.PutSkill{Caller: boss, Skill: vezechat.Skill{Name: "ships"}})
	must("skill", err)
	q, err := c.PutQueue(ctx, vezechat.PutQueue{Caller: boss, Queue: vezechat.Queue{Name: "first", OfferSeconds: 30, Calendar: cal.ID, Policy: pol.ID}})
	must("queue", err)
	if w := <-woken; w.Kind != vezechat.WakeDesk {
		t.Errorf("woken by %+v", w)
	}
	_, err = c.PutAgent(ctx, vezechat.PutAgent{Caller: boss, ID: eve.UserID, CanReply: true, Capacity: 100, Skills: []vezechat.SkillLevel{{Skill: skill.ID, Level: 2}}, Places: []vezechat.Place{{Queue: q.ID, Tier: 1}}})
	must("agent", err)
	_, err = c.SetAgentStatus(ctx, vezechat.SetStatus{Caller: eve, Status: vezechat.AgentOnline})
	must("status", err)
	if a, err := c.Agent(ctx, vezechat.AgentRef{Caller: eve}); err != nil || a.ID != eve.UserID || a.Status != vezechat.AgentOnline {
		t.Errorf("agent: %+v, %v", a, err)
	}
	must("beat", c.BeatAgent(ctx, vezechat.AgentBeat{Caller: eve, Session: "s", Node: "n"}))
	tk, err := c.CreateTicket(ctx, vezechat.CreateTicket{Caller: ann, Subject: "help", Channel: vezechat.ChannelChat, Queue: q.ID})
	must("ticket", err)
	why, err := c.WhyTicket(ctx, vezechat.TicketRef{Caller: eve, TicketID: tk.ID})
	if err != nil || why.Agent != eve.UserID {
		t.Errorf("why: %+v, %v", why, err)
	}
	if got, err := store.Claim(ctx, tk.ID, eve.UserID); err != nil || got != vezechat.ClaimOffered {
		t.Fatal(got, err)
	}
	offers, err := c.Offers(ctx, eve)
	if err != nil || len(offers) != 1 {
		t.Fatal(offers, err)
	}
	got, err := c.AnswerOffer(ctx, vezechat.AnswerOffer{Caller: eve, ID: offers[0].ID, Accept: true})
	if err != nil || got.Assignee != eve.UserID {
		t.Errorf("accepted: %+v, %v", got, err)
	}
	place, err := c.TicketPlace(ctx, vezechat.TicketRef{Caller: ann, TicketID: tk.ID})
	if err != nil || place.State != vezechat.ItemAssigned {
		t.Errorf("place: %+v, %v", place, err)
	}
	clocks, err := c.TicketClocks(ctx, vezechat.TicketRef{Caller: eve, TicketID: tk.ID})
	if err != nil || len(clocks) != 3 {
		t.Errorf("clocks: %+v, %v", clocks, err)
	}
	next, err := c.NextClocks(ctx, vezechat.TicketsRef{Caller: eve, IDs: []vezechat.TicketID{tk.ID, tk.ID + 1}})
	if err != nil || len(next) != 0 { // nothing is promised
		t.Errorf("next clocks: %+v, %v", next, err)
	}
	board, err := c.Board(ctx, eve)
	if err != nil || len(board.Queues) != 1 || board.Queues[0].Assigned != 1 || board.Agents[vezechat.AgentOnline] != 1 || board.Used != vezechat.CostChat {
		t.Errorf("board: %+v, %v", board, err)
	}
	if _, err := c.DeskEvents(ctx, vezechat.DeskEventQuery{Caller: eve, Limit: 10}); err != nil {
		t.Errorf("events: %v", err)
	}
	if _, err := c.DeskEvents(ctx, vezechat.DeskEventQuery{Caller: ann, Limit: 10}); vezechat.CodeOf(err) != vezechat.CodeForbidden {
		t.Errorf("events read by a requester: %v", err)
	}
	for what, err := range map[string]error{
		"a calendar in use": c.DeleteCalendar(ctx, vezechat.SettingRef{Caller: boss, ID: int64(cal.ID)}),
		"a policy in use":   c.DeletePolicy(ctx, vezechat.SettingRef{Caller: boss, ID: int64(pol.ID)}),
		"a skill in use":    c.DeleteSkill(ctx, vezechat.SettingRef{Caller: boss, ID: int64(skill.ID)}),
		"a queue in use":    c.DeleteQueue(ctx, vezechat.SettingRef{Caller: boss, ID: int64(q.ID)}),
	} {
		if vezechat.CodeOf(err) != vezechat.CodeConflict {
			t.Errorf("deleting %s: %v", what, err)
		}
	}
	_, err = c.PutQueue(ctx, vezechat.PutQueue{Caller: boss, Queue: vezechat.Queue{Name: " FIRST ", OfferSeconds: 30}})
	if vezechat.CodeOf(err) != vezechat.CodeConflict {
		t.Errorf("a name that is taken: %v", err)
	}
	_, err = c.PutQueue(ctx, vezechat.PutQueue{Caller: eve, Queue: vezechat.Queue{Name: "mine", OfferSeconds: 30}})
	if vezechat.CodeOf(err) != vezechat.CodeForbidden {
		t.Errorf("settings by an agent: %v", err)
	}
	if _, err := c.Queues(ctx, ann); vezechat.CodeOf(err) != vezechat.CodeForbidden {
		t.Errorf("settings read by a requester: %v", err)
	}
	for what, fn := range map[string]func() (int, error){
		"calendars": func() (int, error) { l, err := c.Calendars(ctx, eve); return len(l), err },
		"policies":  func() (int, error) { l, err := c.Policies(ctx, eve); return len(l), err },
		"skills":    func() (int, error) { l, err := c.Skills(ctx, eve); return len(l), err },
		"queues":    func() (int, error) { l, err := c.Queues(ctx, eve); return len(l), err },
		"agents":    func() (int, error) { l, err := c.Agents(ctx, eve); return len(l), err },
	} {
		if n, err := fn(); n != 1 || err != nil {
			t.Errorf("%d %s, %v", n, what, err)
		}
	}
}
