package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// An agent who is there is offered what waits, takes it or not, and everybody is told
// where it stands.
func TestAgents_OffersAndPlaces(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff, hers := d.staff(), d.as(ann)
	d.must(201, "POST", "/queues", d.admin(), `{"name":"Help","offer_seconds":600}`)
	me := d.user(agent)
	d.must(404, "GET", "/agents/me/status", staff, "")
	d.must(404, "PUT", "/agents/me/status", staff, `{"status":"online"}`)
	d.must(200, "PUT", fmt.Sprintf("/agents/%d", me), d.admin(), `{"places":[{"queue_id":1,"tier":1}]}`)
	at := d.ticket("one", `,"queue":1`)
	d.until("it waits", func() bool { return strings.Contains(d.do("GET", at+"/place", hers, "").body, `"queued"`) })
	var why vezechat.Why
	d.must(200, "GET", at+"/why", staff, "").json(t, &why)
	if why.State != vezechat.ItemQueued || len(why.Verdicts) != 1 || why.Verdicts[0].Status != vezechat.AgentOffline {
		t.Errorf("why: %+v", why)
	}
	if a := d.must(200, "PUT", "/agents/me/status", staff, `{"status":"online"}`); !strings.Contains(a.body, `"online"`) || !strings.Contains(a.body, `"capacity":100`) {
		t.Errorf("%s", a.body)
	}
	offer := d.offered()
	if a := d.must(200, "GET", "/offers", d.admin(), ""); a.body != `{"offers":[]}` {
		t.Errorf("another's offers: %s", a.body)
	}
	tk := ticketIn(t, d.must(200, "POST", fmt.Sprintf("/offers/%d/accept", offer.ID), staff, ""))
	if tk.ID != offer.TicketID || int64(tk.Assignee) != me {
		t.Errorf("accepted: %+v", tk)
	}
	d.must(200, "POST", fmt.Sprintf("/offers/%d/accept", offer.ID), staff, "") // again is harmless
	d.must(409, "POST", fmt.Sprintf("/offers/%d/decline", offer.ID), staff, "")
	second := d.ticket("two", `,"queue":1`)
	next := d.offered()
	d.must(200, "POST", fmt.Sprintf("/offers/%d/decline", next.ID), staff, "")
	if tk := ticketIn(t, d.must(200, "GET", second, staff, "")); tk.Assignee != 0 {
		t.Errorf("declined, and has it: %+v", tk)
	}
	var b vezechat.Board
	d.must(200, "GET", "/board", staff, "").json(t, &b)
	if len(b.Queues) != 1 || b.Queues[0].Waiting != 1 || b.Queues[0].Assigned != 1 || b.Agents[vezechat.AgentOnline] != 1 || b.Used != vezechat.CostTicket {
		t.Errorf("board: %+v", b)
	}
	d.must(400, "PUT", "/agents/me/status", staff, `{"status":"wrap_up"}`)
	d.must(200, "PUT", "/agents/me/status", staff, `{"status":"away"}`)
	if a := d.must(200, "GET", "/agents/me/status", staff, ""); !strings.Contains(a.body, `"status":"away"`) {
		t.Errorf("%s", a.body)
	}
	d.must(400, "POST", "/offers/x/accept", staff, "")
	d.must(404, "POST", "/offers/4711/accept", staff, "")
}

// offered waits for what the agent is offered next.
func (d *deskWorld) offered() vezechat.Offer {
	d.t.Helper()
	var v struct{ Offers []vezechat.Offer }
	d.until("an offer", func() bool {
		if err := decode(d.must(200, "GET", "/offers", d.staff(), "").body, &v); err != nil {
			d.t.Fatal(err)
		}
		return len(v.Offers) > 0
	})
	return v.Offers[0]
}

func TestAgents_AreMade(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	at := fmt.Sprintf("/agents/%d", d.user(agent))
	d.must(201, "POST", "/skills", d.admin(), `{"name":"s"}`)
	d.must(201, "POST", "/queues", d.admin(), `{"name":"q"}`)
	for _, tt := range []struct {
		path, body string
		want       int
		says       string
	}{
		{"/agents/me", `{}`, 400, "user id"},
		{"/agents/4711", `{}`, 400, "no such user"},
		{at, `{"capacity":10001}`, 400, "capacity"},
		{at, `{"skills":[{"skill_id":1,"level":6}]}`, 400, "level"},
		{at, `{"skills":[{"skill_id":9,"level":1}]}`, 400, "skill_id: there is no 9"},
		{at, `{"places":[{"queue_id":1,"tier":10}]}`, 400, "tier"},
		{at, `{"places":"all"}`, 400, "places"},
		{at, `{"can_reply":"no"}`, 400, "can_reply"},
	} {
		a := d.do("PUT", tt.path, d.admin(), tt.body)
		if a.status != tt.want || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.path, tt.body, a.status, a.body, tt.want, tt.says)
		}
	}
	var a vezechat.Agent
	d.must(200, "PUT", at, d.admin(), `{"skills":[{"skill_id":1,"level":4}],"places":[{"queue_id":1,"tier":2}]}`).json(t, &a)
	if !a.CanReply || a.Capacity != vezechat.DefaultCapacity || a.Level(1) != 4 || a.Tier(1) != 2 || a.Status != vezechat.AgentOffline {
		t.Errorf("%+v", a)
	}
	d.must(200, "PUT", at, d.admin(), `{"can_reply":false,"capacity":0}`).json(t, &a)
	if a.CanReply || a.Capacity != 0 {
		t.Errorf("said anew: %+v", a)
	}
	var list struct{ Agents []vezechat.Agent }
	d.must(200, "GET", "/agents", d.staff(), "").json(t, &list)
	if len(list.Agents) != 1 || len(list.Agents[0].Skills) != 0 {
		t.Errorf("%+v", list)
	}
}
