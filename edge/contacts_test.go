package edge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// An invitation is seen by the invited, makes a member once, and ends.
func TestContacts_Invitations(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t, func(d *deskWorld) { d.live = true })
	base, _ := d.serve(t)
	id := d.user(bob)
	at := fmt.Sprintf("/rooms/%d", d.must(201, "POST", "/rooms", d.as(ann), `{"name":"Guild","kind":"guild"}`).id(t))
	c := dial(t, base, "/ws", d.as(ann))
	c.event("hello")
	if o := c.ask("j", `{"type":"join","room_id":%s}`, strings.TrimPrefix(at, "/rooms/")); o["type"] != "ok" {
		t.Fatal(o)
	}
	d.must(404, "POST", at+"/invitations/accept", d.as(bob), "")
	d.must(404, "GET", at, d.as(bob), "")
	d.must(201, "POST", at+"/invitations", d.as(ann), `{"handle":"@bob"}`)
	d.must(201, "POST", at+"/invitations", d.as(ann), `{"handle":"@bob"}`) // twice is as once
	if e := c.event("room.member.invited"); e["user_id"] != float64(id) || e["by"] == nil {
		t.Errorf("the members hear %v", e)
	}
	if a := d.must(200, "GET", "/users/me/invitations", d.as(bob), ""); strings.Count(a.body, `"room":"Guild"`) != 1 {
		t.Errorf("the invited sees %s", a.body)
	}
	page := with(d.as(bob), "Accept", "text/html")
	if a := d.must(200, "GET", "/rooms", page, ""); !strings.Contains(a.body, at+"/invitations/accept") {
		t.Error("the invitation is not on the page of rooms")
	}
	d.must(404, "GET", at, d.as(bob), "") // an invitation is no key
	d.must(204, "POST", at+"/invitations/decline", d.as(bob), "")
	c.event("room.member.uninvited")
	d.must(404, "POST", at+"/invitations/accept", d.as(bob), "")
	d.must(201, "POST", at+"/invitations", d.as(ann), fmt.Sprintf(`{"user_id":%d}`, id))
	d.must(200, "POST", at+"/invitations/accept", d.as(bob), "")
	d.must(200, "POST", at+"/invitations/accept", d.as(bob), "")
	c.find("that the invited has joined", func(o object) bool { // who made the room may be heard to join it, too
		return o["type"] == "room.member.joined" && o["user_id"] == float64(id)
	})
	d.must(200, "GET", at, d.as(bob), "")
	d.must(409, "POST", at+"/invitations", d.as(ann), `{"handle":"@bob"}`)
	d.must(403, "POST", at+"/invitations", d.as(bob), `{"handle":"@eve"}`)
	if a := d.must(200, "GET", "/users/me/invitations", d.as(bob), ""); a.body != `{"invitations":[]}` {
		t.Errorf("accepted, and still there: %s", a.body)
	}
	// What is of no room and what is of a room that is not to be seen is told alike.
	a, b := d.must(404, "POST", at+"/invitations/accept", d.as(eve), ""), d.must(404, "POST", "/rooms/4711/invitations/accept", d.as(eve), "")
	if x, y := detail(t, a), detail(t, b); x != y {
		t.Errorf("%q and %q", x, y)
	}
}

func detail(t *testing.T, a answer) string {
	t.Helper()
	var p struct{ Detail string }
	a.json(t, &p)
	return p.Detail
}

// A public guild is looked into and entered by anyone, and written in by members. When
// it becomes private, who is none is put out.
func TestContacts_PublicGuild(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t, func(d *deskWorld) { d.live = true })
	base, _ := d.serve(t)
	at := fmt.Sprintf("/rooms/%d", d.must(201, "POST", "/rooms", d.as(ann), `{"name":"Guild","kind":"guild"}`).id(t))
	d.must(404, "POST", at+"/join", d.as(bob), "")
	d.must(400, "POST", "/rooms", d.as(ann), `{"name":"Party","kind":"party","public":true}`)
	d.must(200, "PATCH", at, d.as(ann), `{"public":true}`)
	if a := d.must(200, "GET", "/rooms", d.as(bob), ""); !strings.Contains(a.body, `"Guild"`) {
		t.Errorf("it is not listed: %s", a.body)
	}
	c := dial(t, base, "/ws", d.as(eve))
	c.event("hello")
	room := strings.TrimPrefix(at, "/rooms/")
	if o := c.ask("j", `{"type":"join","room_id":%s}`, room); o["type"] != "ok" {
		t.Fatal(o)
	}
	c.refused("s", vezechat.CodeForbidden, `{"type":"send","room_id":%s,"text":"hi"}`, room)
	d.must(200, "POST", at+"/join", d.as(bob), "")
	d.must(201, "POST", at+"/messages", d.as(bob), `{"text":"hi"}`)
	c.event("chat.message.created")
	d.must(200, "PATCH", at, d.as(ann), `{"public":false}`)
	c.event("room.updated")
	d.until("the door is closed on the socket", func() bool {
		return c.ask(fmt.Sprint(time.Now().UnixNano()), `{"type":"read","room_id":%s,"upto":1}`, room)["code"] == "not_found"
	})
	d.must(404, "GET", at, d.as(eve), "")
	d.must(201, "POST", at+"/messages", d.as(bob), `{"text":"still here"}`)
}

// Who is blocked opens no direct messages, writes in none, invites and adds nobody; the
// sockets that are open know it at once. Pages show nothing of theirs.
func TestContacts_Blocks(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t, func(d *deskWorld) { d.live = true })
	base, _ := d.serve(t)
	anns, bobs := d.user(ann), d.user(bob)
	var dm struct {
		Room int64 `json:"room_id"`
	}
	d.must(200, "POST", "/dms", d.as(bob), `{"to":"@ann"}`).json(t, &dm)
	c := dial(t, base, "/ws", d.as(bob))
	c.event("hello")
	if o := c.ask("j", `{"type":"join","room_id":%d}`, dm.Room); o["type"] != "ok" {
		t.Fatal(o)
	}
	if o := c.ask("s", `{"type":"send","room_id":%d,"text":"hello","nonce":"n0"}`, dm.Room); o["type"] != "ok" {
		t.Fatal(o)
	}
	guild := fmt.Sprintf("/rooms/%d", d.must(201, "POST", "/rooms", d.as(bob), `{"name":"Guild","kind":"guild"}`).id(t))
	d.must(201, "POST", guild+"/invitations", d.as(bob), `{"handle":"@ann"}`)
	block := fmt.Sprintf("/users/me/blocks/%d", bobs)
	d.must(204, "PUT", block, d.as(ann), "")
	d.must(204, "PUT", block, d.as(ann), "") // twice is as once
	if e := c.event("room.updated"); e["blocked"] != true {
		t.Errorf("bob's socket hears %v", e)
	}
	c.refused("s2", vezechat.CodeForbidden, `{"type":"send","room_id":%d,"text":"and again"}`, dm.Room)
	messages := fmt.Sprintf("/rooms/%d/messages", dm.Room)
	d.must(403, "POST", messages, d.as(bob), `{"text":"and again"}`)
	d.must(403, "POST", messages, d.as(ann), `{"text":"nor she"}`)
	d.must(403, "POST", "/dms", d.as(bob), `{"to":"@ann"}`)
	d.must(403, "POST", guild+"/invitations", d.as(bob), `{"handle":"@ann"}`)
	d.must(403, "PUT", fmt.Sprintf("%s/members/%d", guild, anns), d.as(bob), `{}`)
	d.must(403, "POST", "/rooms", d.as(bob), fmt.Sprintf(`{"name":"Another guild","kind":"guild","members":[%d]}`, anns))
	d.must(403, "POST", "/rooms", d.as(bob), fmt.Sprintf(`{"name":"A party","kind":"party","members":[%d,%d]}`, d.user(eve), anns))
	if a := d.must(200, "GET", "/users/me/invitations", d.as(ann), ""); a.body != `{"invitations":[]}` {
		t.Errorf("his invitation is still there: %s", a.body)
	}
	if a := d.must(200, "GET", "/users/me/blocks", d.as(ann), ""); !strings.Contains(a.body, `"@bob"`) {
		t.Errorf("her list: %s", a.body)
	}
	if a := d.must(200, "GET", "/users/me/blocks", d.as(bob), ""); a.body != `{"blocks":[]}` {
		t.Errorf("his list: %s", a.body)
	}
	d.until("her page hides what he said", func() bool {
		a := d.do("GET", fmt.Sprintf("/rooms/%d", dm.Room), with(d.as(ann), "Accept", "text/html"), "")
		return strings.Contains(a.body, "somebody whom you block") && !strings.Contains(a.body, "hello</p>")
	})
	d.must(400, "PUT", fmt.Sprintf("/users/me/blocks/%d", anns), d.as(ann), "")
	d.must(404, "PUT", "/users/me/blocks/4711", d.as(ann), "")
	// Either's block is enough, and ends only when both have ended.
	d.must(204, "PUT", fmt.Sprintf("/users/me/blocks/%d", anns), d.as(bob), "")
	d.must(204, "DELETE", block, d.as(ann), "")
	d.must(403, "POST", messages, d.as(ann), `{"text":"he blocks her"}`)
	d.must(204, "DELETE", fmt.Sprintf("/users/me/blocks/%d", anns), d.as(bob), "")
	d.must(201, "POST", messages, d.as(ann), `{"text":"friends"}`)
}

// A room's page invites and blocks by plain forms.
func TestContacts_Forms(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	bobs := d.user(bob)
	at := fmt.Sprintf("/rooms/%d", d.must(201, "POST", "/rooms", d.as(ann), fmt.Sprintf(`{"name":"Guild","kind":"guild","members":[%d]}`, bobs)).id(t))
	d.user(eve)
	page := with(d.as(ann), "Accept", "text/html", "Content-Type", formType, "Referer", "http://example.com"+at)
	block := fmt.Sprintf("/users/me/blocks/%d?_method=", bobs)
	before := d.must(200, "GET", at, page, "").body
	if !strings.Contains(before, `formaction="`+at+`/invitations"`) || !strings.Contains(before, block+"PUT") {
		t.Fatal("the page does not offer to invite and to block")
	}
	if a := d.must(303, "POST", at+"/invitations", page, form("handle", eve)); a.header.Get("Location") != at {
		t.Errorf("after inviting: %v", a.header)
	}
	if a := d.must(200, "GET", "/users/me/invitations", d.as(eve), ""); !strings.Contains(a.body, `"room":"Guild"`) {
		t.Errorf("the invited sees %s", a.body)
	}
	if a := d.must(303, "POST", at+"/invitations", page, form("handle", "nobody-such")); a.header.Get("Location") != at {
		t.Errorf("of nobody: %v", a.header)
	}
	if a := d.must(303, "POST", block+"PUT", page, "x=1"); a.header.Get("Location") != at {
		t.Errorf("after blocking: %v", a.header)
	}
	if p := d.must(200, "GET", at, page, "").body; !strings.Contains(p, block+"DELETE") || strings.Contains(p, block+"PUT") {
		t.Error("the page does not offer to unblock")
	}
	d.must(303, "POST", block+"DELETE", page, "x=1")
	if a := d.must(200, "GET", "/users/me/blocks", d.as(ann), ""); a.body != `{"blocks":[]}` {
		t.Errorf("her list: %s", a.body)
	}
}
