package edge_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// The pages make hooks, show what is secret once, and end them.
func TestHookPages_MakeAndEnd(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	room := d.guildOf(alice, "Guild")
	h := with(d.as(alice), "Accept", "text/html", "Content-Type", formType)
	if a := d.must(200, "GET", room, h, ""); !strings.Contains(a.body, room+"/hooks") {
		t.Error("the room's page does not lead to its hooks")
	}
	a := d.must(201, "POST", room+"/hooks/incoming", h, form("name", "Build", "nonce", "n1"))
	address := regexp.MustCompile(`http://example.com(/hooks/rooms/vezeh_[A-Z2-7]{59})`).FindStringSubmatch(a.body)
	if address == nil || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("no address in the page, or it may be kept: %v", a.header)
	}
	d.must(201, "POST", address[1], nil, `{"text":"by the page"}`)
	a = d.must(201, "POST", room+"/hooks/outgoing", h, form("name", "Tell", "url", "https://example.com/hook", "events", "room.archived", "events", "chat.message.created"))
	secret := regexp.MustCompile(`whsec_[A-Za-z0-9+/=]{40,}`).FindString(strings.ReplaceAll(a.body, "&#43;", "+"))
	if secret == "" {
		t.Fatal("no secret in the page")
	}
	list := d.must(200, "GET", room+"/hooks", h, "")
	if strings.Contains(list.body, address[1]) || strings.Contains(list.body, secret) || !strings.Contains(list.body, "Build") || !strings.Contains(list.body, "room.archived, chat.message.created") {
		t.Errorf("the list: %s", list.body)
	}
	hooks := d.must(200, "GET", room+"/hooks", d.as(alice), "")
	var l struct{ Incoming, Outgoing []struct{ ID int } }
	hooks.json(t, &l)
	out := fmt.Sprintf("/hooks/outgoing/%d", l.Outgoing[0].ID)
	d.must(200, "GET", out+"/deliveries", h, "")
	d.must(303, "POST", out+"?_method=PATCH", h, form("on", "false"))
	if a := d.must(200, "GET", room+"/hooks", h, ""); !strings.Contains(a.body, "off: turned off") {
		t.Error("it is not shown as off")
	}
	d.must(200, "POST", out+"/rotate", h, "x=1")
	d.must(303, "POST", out+"?_method=DELETE", h, "x=1")
	d.must(303, "POST", fmt.Sprintf("/hooks/incoming/%d?_method=DELETE", l.Incoming[0].ID), h, "x=1")
	if a := d.do("POST", address[1], nil, `{"text":"x"}`); a.status != 404 {
		t.Errorf("revoked by a form: %d", a.status)
	}
	admin := with(d.admin(), "Accept", "text/html", "Content-Type", formType)
	d.must(201, "POST", "/admin/hooks", admin, form("name", "Archive", "url", "https://example.com/all", "events", "room.archived"))
	if a := d.must(200, "GET", "/admin/hooks", admin, ""); !strings.Contains(a.body, "https://example.com/all") {
		t.Errorf("%s", a.body)
	}
	refused := d.must(303, "POST", "/admin/hooks", with(admin, "Referer", "http://example.com/admin/hooks"), form("name", "Inside", "url", "ftp://example.com/x", "events", "room.archived", "events", "room.created", "events", "room.gone"))
	cookie, _, _ := strings.Cut(refused.header.Get("Set-Cookie"), ";")
	page := d.must(200, "GET", "/admin/hooks", with(admin, "Cookie", cookie), "").body
	for _, want := range []string{`role="alert"`, `value="Inside"`, `value="ftp://example.com/x"`, `value="room.archived" checked`, `value="room.created" checked`} {
		if !strings.Contains(page, want) {
			t.Errorf("a refused form comes back without %q", want)
		}
	}
}
