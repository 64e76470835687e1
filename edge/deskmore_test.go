package edge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

func TestDesk_TagsMergeSplitFollowUp(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	m := &deskMaker{deskWorld: d}
	at, message := m.spoken()
	at = "/tickets/" + at
	d.must(200, "POST", at+"/tags", staff, `{"add":["b","a"]}`)
	tk := ticketIn(t, d.must(200, "POST", at+"/tags", staff, `{"add":["c"],"remove":["a"]}`))
	if !slices.Equal(tk.Tags, []string{"b", "c"}) {
		t.Errorf("tags %v", tk.Tags)
	}
	part := ticketIn(t, d.must(201, "POST", at+"/split", staff, `{"from":`+message+`,"subject":"The rest"}`))
	if part.Subject != "The rest" || part.RequesterHandle != "@"+ann {
		t.Errorf("%+v", part)
	}
	links := d.must(200, "GET", at+"/links", staff, "")
	if !strings.Contains(links.body, `"split_from"`) || !strings.Contains(links.body, `"The rest"`) {
		t.Errorf("links %s", links.body)
	}
	into := ticketIn(t, d.must(200, "POST", fmt.Sprintf("/tickets/%d/merge", part.ID), staff, `{"into":`+strings.TrimPrefix(at, "/tickets/")+`}`))
	if into.ID != tk.ID {
		t.Errorf("merged into %d", into.ID)
	}
	gone := ticketIn(t, d.must(200, "GET", fmt.Sprintf("/tickets/%d", part.ID), staff, ""))
	if gone.Status != vezechat.StatusClosed || gone.MergedInto != tk.ID {
		t.Errorf("%+v", gone)
	}
	d.must(409, "POST", fmt.Sprintf("/tickets/%d/tags", part.ID), staff, `{"add":["x"]}`)
	// What its requester writes there goes on in the other one; what the staff writes would not.
	said := d.do("POST", fmt.Sprintf("/tickets/%d/comments", part.ID), staff, `{"text":"hello"}`)
	if said.status != 409 || !strings.Contains(said.body, fmt.Sprintf("merged into ticket %d", tk.ID)) {
		t.Errorf("an answer in what was merged: %d %s", said.status, said.body)
	}
	d.must(201, "POST", fmt.Sprintf("/tickets/%d/notes", part.ID), staff, `{"text":"hello"}`)
	d.must(201, "POST", fmt.Sprintf("/tickets/%d/comments", part.ID), d.as(ann), `{"text":"hello"}`)
	if links := d.must(200, "GET", at+"/links", staff, "").body; !strings.Contains(links, `"merged_into"`) {
		t.Errorf("links: %s", links)
	}
	next := ticketIn(t, d.must(201, "POST", fmt.Sprintf("/tickets/%d/followup", part.ID), d.as(ann), `{"body":"again"}`))
	if next.FollowUpOf != part.ID || next.Subject != "The rest" {
		t.Errorf("%+v", next)
	}
	foreign := d.must(201, "POST", "/tickets", d.as(bob), `{"subject":"his"}`).id(t)
	a := d.do("POST", fmt.Sprintf("/tickets/%d/merge", foreign), staff, `{"into":`+strings.TrimPrefix(at, "/tickets/")+`}`)
	if a.status != 409 || !strings.Contains(a.body, "share") {
		t.Errorf("tickets of two people: %d %s", a.status, a.body)
	}
	d.must(404, "GET", at, d.as(bob), "")
	d.must(200, "POST", fmt.Sprintf("/tickets/%d/merge", foreign), staff, `{"share":true,"into":`+strings.TrimPrefix(at, "/tickets/")+`}`)
	d.must(200, "GET", at, d.as(bob), "")
}

func TestDesk_LinksWatchersAttendanceHistory(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff, admin := d.staff(), d.admin()
	at := d.ticket("one")
	d.ticket("two")
	for range 2 { // again is harmless
		d.must(204, "PUT", at+"/links/2?kind=blocks", staff, "")
		d.must(204, "PUT", at+"/watchers/me", staff, "")
		d.must(204, "PUT", fmt.Sprintf("%s/watchers/%d", at, d.user(boss)), staff, "")
	}
	var links struct{ Links []vezechat.TicketLink }
	d.must(200, "GET", "/tickets/2/links", staff, "").json(t, &links)
	if len(links.Links) != 1 || links.Links[0].Kind != vezechat.LinkBlocks || links.Links[0].Subject != "one" {
		t.Errorf("%+v", links)
	}
	var watchers struct{ Watchers []vezechat.User }
	d.must(200, "GET", at+"/watchers", staff, "").json(t, &watchers)
	if len(watchers.Watchers) != 2 || watchers.Watchers[0].Handle != "@"+agent || watchers.Watchers[0].Email != "" {
		t.Errorf("%+v", watchers)
	}
	d.must(204, "DELETE", at+"/watchers/me", staff, "")
	d.must(204, "DELETE", at+"/links/2?kind=blocks", staff, "")
	if a := d.must(200, "GET", at+"/links", staff, ""); a.body != `{"links":[]}` {
		t.Errorf("links %s", a.body)
	}
	if a := d.must(200, "POST", at+"/attend", staff, `{"mode":"replying"}`); a.body != `{"attending":[]}` {
		t.Errorf("one is not told of oneself: %s", a.body)
	}
	if a := d.must(200, "POST", at+"/attend", admin, `{"mode":"viewing"}`); !strings.Contains(a.body, `"@agent"`) || !strings.Contains(a.body, `"replying"`) {
		t.Errorf("attending %s", a.body)
	}
	d.must(200, "POST", at+"/attend", staff, `{"mode":""}`)
	if a := d.must(200, "POST", at+"/attend", admin, `{"mode":"viewing"}`); a.body != `{"attending":[]}` {
		t.Errorf("who has left: %s", a.body)
	}
	d.must(200, "PATCH", at, staff, `{"priority":"high","why":"she flies today"}`)
	var h struct{ History []vezechat.TicketChange }
	d.must(200, "GET", at+"/history", staff, "").json(t, &h)
	last := h.History[len(h.History)-1]
	if h.History[0].Kind != "created" || last.Why != "she flies today" || last.Handle != "@"+agent || string(last.New["priority"]) != `"high"` {
		t.Errorf("%+v", h.History)
	}
	d.must(200, "GET", fmt.Sprintf("%s/history?after=%d", at, last.Version-1), staff, "").json(t, &h)
	if len(h.History) != 1 || h.History[0].Version != last.Version {
		t.Errorf("the last one: %+v", h.History)
	}
}

func TestDesk_MacrosViewsAndBulk(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	at := d.ticket("one")
	d.ticket("two")
	body := `{"name":"Done","text":"Hello {{requester.handle}}","actions":[{"do":"tag","tag":"done"},{"do":"move","move":"solve"}],"shared":true}`
	d.must(403, "POST", "/macros", staff, body)
	macro := d.must(201, "POST", "/macros", d.admin(), body).id(t)
	var got vezechat.Applied
	d.must(200, "POST", fmt.Sprintf("%s/macros/%d", at, macro), staff, "").json(t, &got)
	if got.Text != "Hello @ann" || got.Ticket.Status != vezechat.StatusSolved || !slices.Equal(got.Ticket.Tags, []string{"done"}) {
		t.Errorf("%+v", got)
	}
	a := d.do("POST", fmt.Sprintf("%s/macros/%d", at, macro), staff, "")
	if a.status != 409 || a.code(t) != vezechat.CodeBadTransition {
		t.Errorf("solved twice: %d %s", a.status, a.body)
	}
	var list struct{ Macros []vezechat.Macro }
	d.must(200, "GET", "/macros", staff, "").json(t, &list)
	if len(list.Macros) != 1 || list.Macros[0].Used != 1 || list.Macros[0].Owner != 0 {
		t.Errorf("%+v", list)
	}
	view := d.must(201, "POST", "/views", staff, `{"name":"Open","filter":{"status":["new","open"]},"position":2}`).id(t)
	var views struct{ Views []vezechat.TicketView }
	d.must(200, "GET", "/views", staff, "").json(t, &views)
	own := func(v vezechat.TicketView) bool { return int64(v.ID) == view && v.Count == 1 && v.Owner != 0 }
	if !slices.ContainsFunc(views.Views, own) {
		t.Errorf("%+v", views)
	}
	d.must(200, "GET", "/views", d.admin(), "").json(t, &views)
	if slices.ContainsFunc(views.Views, func(v vezechat.TicketView) bool { return int64(v.ID) == view }) {
		t.Errorf("another's view: %+v", views)
	}
	d.must(200, "PUT", fmt.Sprintf("/views/%d", view), staff, `{"name":"Solved","filter":{"status":["solved"]}}`)
	if got := ids(t, d.must(200, "GET", fmt.Sprintf("/tickets?view=%d", view), staff, "")); !slices.Equal(got, []int64{1}) {
		t.Errorf("solved ones: %v", got)
	}
	d.must(404, "DELETE", fmt.Sprintf("/views/%d", view), d.admin(), "")
	d.must(204, "DELETE", fmt.Sprintf("/views/%d", view), staff, "")
	var res struct{ Results []vezechat.BulkResult }
	d.must(200, "POST", "/tickets/bulk", staff, `{"ids":[2,99,1],"actions":[{"do":"move","move":"hold"}]}`).json(t, &res)
	var codes []vezechat.Code
	for _, r := range res.Results {
		codes = append(codes, r.Code)
	}
	if !slices.Equal(codes, []vezechat.Code{"", vezechat.CodeNotFound, vezechat.CodeBadTransition}) {
		t.Errorf("%+v", res.Results)
	}
}

// Whoever asks too often is refused; staff is exempt.
func TestDesk_RateLimits(t *testing.T) {
	t.Parallel()
	slow := edge.Rate{Every: 1 << 40, Burst: 5}
	d := newDeskWorld(t, func(d *deskWorld) { d.limit = edge.Limits{User: slow, Room: slow} })
	at := d.ticket("one")
	left := 4
	for ; left > 0; left-- {
		d.must(200, "POST", at+"/transition", d.as(ann), `{"move":"`+[]string{"solve", "reopen"}[left%2]+`"}`)
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/tickets", `{"subject":"x"}`}, {"POST", at + "/transition", `{"move":"solve"}`}, {"POST", at + "/comments", `{"text":"x"}`},
		{"POST", at + "/rate", `{"score":1}`}, {"GET", "/tickets?q=x", ""}, {"POST", "/queues", `{"name":"x"}`},
	} {
		a := d.do(c.method, c.path, d.as(ann), c.body)
		if a.status != 429 || a.code(t) != vezechat.CodeRateLimited || a.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		}
	}
	for range 8 {
		d.must(200, "PATCH", at, d.admin(), `{"priority":"high"}`)
	}
}
