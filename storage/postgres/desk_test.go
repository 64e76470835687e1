package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestWrapUp(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	q := w.queue
	q.WrapSeconds = 60
	w.putQueue(q)
	a := w.agent("eve", 100)
	m, c := w.mail("mail"), w.chat("chat")
	w.claim(m.ID, a, vezechat.ClaimAssigned)
	w.mustMove(a, m.ID, vezechat.MoveSolve)
	if s := w.found(a).Status; s != vezechat.AgentOnline {
		t.Errorf("%s after a mail", s)
	}
	w.claim(c.ID, a, vezechat.ClaimOffered)
	if err := w.answer(a, w.offerTo(a).ID, true); err != nil {
		t.Fatal(err)
	}
	w.mustMove(a, c.ID, vezechat.MoveSolve)
	if s := w.found(a).Status; s != vezechat.AgentWrapUp {
		t.Errorf("%s after a chat", s)
	}
	next := w.mail("next")
	w.claim(next.ID, a, vezechat.ClaimLost)
	if at, err := w.NextTimer(t.Context()); err != nil || at.After(w.clock.now().Add(time.Minute)) {
		t.Errorf("the next timer is at %s, %v", at, err)
	}
	w.clock.advance(time.Minute)
	for _, want := range []int{1, 0} {
		if n, err := w.EndWrapUps(t.Context(), 10); n != want || err != nil {
			t.Fatalf("%d wrapped up, %v", n, err)
		}
	}
	w.claim(next.ID, a, vezechat.ClaimAssigned)
	w.whole()
}

// A step opens the second tier, once for each ticket, whoever asks.
func TestStepTickets(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	q := w.queue
	q.Steps = []vezechat.RouteStep{{After: 30, Tier: 2}}
	w.queue = w.putQueue(q)
	a := w.agent("eve", 100)
	r := vezechat.PutAgent{Caller: w.boss, ID: a.UserID, CanReply: true, Capacity: 100, Places: []vezechat.Place{{Queue: w.queue.ID, Tier: 2}}}
	if _, err := w.PutAgent(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	m := w.mail("mail")
	steps := func() []vezechat.TicketID {
		t.Helper()
		ids, err := w.StepTickets(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	steps() // it is new
	if ids := steps(); len(ids) > 0 {
		t.Errorf("%v before any step", ids)
	}
	w.claim(m.ID, a, vezechat.ClaimLost)
	why, err := w.WhyTicket(t.Context(), tref(w.staff, m.ID))
	if err != nil || why.Step != 0 || !why.NextStep.Equal(w.clock.now().Add(30*time.Second)) || why.Verdicts[0].Reason != "tier_closed" {
		t.Errorf("why: %+v, %v", why, err)
	}
	if at, err := w.NextTimer(t.Context()); err != nil || !at.Equal(why.NextStep) {
		t.Errorf("the next timer is at %s, %v", at, err)
	}
	w.clock.advance(30 * time.Second)
	if ids := steps(); !slices.Equal(ids, []vezechat.TicketID{m.ID}) {
		t.Errorf("%v after the step", ids)
	}
	if ids := steps(); len(ids) > 0 {
		t.Errorf("%v twice", ids)
	}
	w.claim(m.ID, a, vezechat.ClaimAssigned)
}

// An estimate is shown when there is enough to make it of: 11 acceptances in 15
// minutes, whenever they were.
func TestTicketPlace_Estimates(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 1000)
	for i := range 11 {
		if i == 4 {
			m := w.mail("waits")
			if p, err := w.TicketPlace(t.Context(), tref(w.ann, m.ID)); err != nil || p.Position != 1 || p.Soon != 0 || p.Late != 0 {
				t.Errorf("of 4 acceptances: %+v, %v", p, err)
			}
			w.claim(m.ID, a, vezechat.ClaimAssigned)
			continue
		}
		w.claim(w.mail(fmt.Sprint("mail ", i)).ID, a, vezechat.ClaimAssigned)
		w.clock.advance(20 * time.Second)
		if i == 7 {
			w.clock.advance(40 * time.Second)
		}
	}
	w.mail("before")
	m := w.mail("waits")
	p, err := w.TicketPlace(t.Context(), tref(w.ann, m.ID))
	if err != nil || p.State != vezechat.ItemQueued || p.Position != 2 || p.Soon != 138 || p.Late != 245 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := w.TicketPlace(t.Context(), tref(w.bob, m.ID)); vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Errorf("somebody else's: %v", err)
	}
	w.clock.advance(vezechat.EstimateWithin)
	if p, err := w.TicketPlace(t.Context(), tref(w.ann, m.ID)); err != nil || p.Late != 0 {
		t.Errorf("of long ago: %+v, %v", p, err)
	}
	b, err := w.Board(t.Context(), w.staff)
	if err != nil || len(b.Queues) != 1 || b.Queues[0].Waiting != 2 || b.Queues[0].Assigned != 11 || b.Used != 11*vezechat.CostTicket || b.Queues[0].Oldest.IsZero() {
		t.Errorf("board: %+v, %v", b, err)
	}
}

func TestDesk_WhoMay(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	ctx := t.Context()
	a := w.agent("eve", 100)
	for who, c := range map[string]vezechat.Caller{"an agent": a, "a requester": w.ann} {
		for what, err := range map[string]error{
			"calendar": second(w.PutCalendar(ctx, vezechat.PutCalendar{Caller: c})),
			"policy":   second(w.PutPolicy(ctx, vezechat.PutPolicy{Caller: c})),
			"skill":    second(w.PutSkill(ctx, vezechat.PutSkill{Caller: c})),
			"queue":    second(w.PutQueue(ctx, vezechat.PutQueue{Caller: c})),
			"agent":    second(w.PutAgent(ctx, vezechat.PutAgent{Caller: c})),
			"deletion": w.DeleteQueue(ctx, vezechat.SettingRef{Caller: c, ID: int64(w.queue.ID)}),
		} {
			if vezechat.CodeOf(err) != vezechat.CodeForbidden {
				t.Errorf("%s by %s: %v", what, who, err)
			}
		}
	}
	for what, err := range map[string]error{
		"queues": second(w.Queues(ctx, w.ann)),
		"agents": second(w.Agents(ctx, w.ann)),
		"board":  second(w.Board(ctx, w.ann)),
		"offers": second(w.Offers(ctx, w.ann)),
		"status": second(w.SetAgentStatus(ctx, vezechat.SetStatus{Caller: w.ann, Status: vezechat.AgentOnline})),
		"beat":   w.BeatAgent(ctx, vezechat.AgentBeat{Caller: w.ann, Session: "s"}),
	} {
		if vezechat.CodeOf(err) != vezechat.CodeForbidden {
			t.Errorf("%s by a requester: %v", what, err)
		}
	}
	_, err := w.SetAgentStatus(ctx, vezechat.SetStatus{Caller: w.staff, Status: vezechat.AgentOnline})
	wantCode(t, err, vezechat.CodeNotFound) // no agent
	_, err = w.SetAgentStatus(ctx, vezechat.SetStatus{Caller: a, Status: vezechat.AgentWrapUp})
	wantCode(t, err, vezechat.CodeBadRequest) // the hub's to set
	if err := w.BeatAgent(ctx, vezechat.AgentBeat{Caller: a, Session: "s", Node: "n"}); err != nil {
		t.Error(err)
	}
	two := w.agent("trudy", 100)
	wantCode(t, w.BeatAgent(ctx, vezechat.AgentBeat{Caller: two, Session: "s", Node: "n"}), vezechat.CodeNotFound)
	_, err = w.PutAgent(ctx, vezechat.PutAgent{Caller: w.boss, ID: 4711, Capacity: 1})
	wantCode(t, err, vezechat.CodeBadRequest)
	_, err = w.PutAgent(ctx, vezechat.PutAgent{Caller: w.boss, ID: a.UserID, Capacity: 1, Places: []vezechat.Place{{Queue: 4711, Tier: 1}}})
	wantCode(t, err, vezechat.CodeBadRequest)
	if got := w.found(a); got.Capacity != 100 || len(got.Places) != 1 {
		t.Errorf("a refused change was made: %+v", got)
	}
}

// What administrators change of the desk is in the audit log, before and after, once; what changes
// nothing, or is refused, is not.
func TestDesk_SettingsAreAudited(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	ctx := t.Context()
	r := vezechat.PutSkill{Caller: w.boss, Skill: vezechat.Skill{Name: "Ships"}, Key: "k"}
	k, err := w.PutSkill(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.PutSkill(ctx, r); err != nil || again != k {
		t.Fatal(again, err)
	}
	for _, name := range []string{"Hulls", "Hulls"} {
		if _, err := w.PutSkill(ctx, vezechat.PutSkill{Caller: w.boss, Skill: vezechat.Skill{ID: k.ID, Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	a := w.agent("eve", 100, vezechat.SkillLevel{Skill: k.ID, Level: 2})
	wantCode(t, w.DeleteSkill(ctx, vezechat.SettingRef{Caller: w.boss, ID: int64(k.ID)}), vezechat.CodeConflict)
	w.agent("eve", 50)
	if err := w.DeleteSkill(ctx, vezechat.SettingRef{Caller: w.boss, ID: int64(k.ID)}); err != nil {
		t.Fatal(err)
	}
	p, err := w.Audit(ctx, vezechat.AuditQuery{Caller: w.boss, Action: vezechat.ModDesk})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range slices.Backward(p.Entries) {
		was, now := e.Before.Setting, e.After.Setting
		if e.UserID != w.two.UserID && e.ActorID == w.boss.UserID && was.What == now.What {
			got = append(got, fmt.Sprintf("%s of %d: %s > %s", now.What, e.UserID, was.Value, now.Value))
		}
	}
	skill, eve, places := fmt.Sprint("skill ", k.ID), fmt.Sprintf("agent %d of %d: ", a.UserID, a.UserID), fmt.Sprintf(`"places": [{"tier": 1, "queue_id": %d}]`, w.queue.ID)
	had := fmt.Sprintf(`{%s, "skills": [{"level": 2, "skill_id": %d}], "capacity": 100, "can_reply": true}`, places, k.ID)
	want := []string{
		skill + ` of 0:  > {"id": ` + fmt.Sprint(k.ID) + `, "name": "Ships"}`,
		skill + ` of 0: {"id": ` + fmt.Sprint(k.ID) + `, "name": "Ships"} > {"id": ` + fmt.Sprint(k.ID) + `, "name": "Hulls"}`,
		eve + " > " + had,
		eve + had + ` > {` + places + `, "skills": [], "capacity": 50, "can_reply": true}`,
		skill + ` of 0: {"id": ` + fmt.Sprint(k.ID) + `, "name": "Hulls"} > `,
	}
	if len(got) > 0 && strings.HasPrefix(got[0], "queue ") {
		got = got[1:] // the world's
	}
	if !slices.Equal(got, want) {
		t.Errorf("the audit log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPutAgent_NoGuests(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	guest, _ := w.guest("hello")
	_, err := w.PutAgent(t.Context(), vezechat.PutAgent{Caller: w.boss, ID: guest.UserID, CanReply: true, Capacity: 100})
	wantCode(t, err, vezechat.CodeBadRequest)
}
