package edge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// Whoever may not run a room any more has no hooks there: their addresses post nothing, and
// nobody is told of anything for them. Hooks of others stay.
func TestHooks_EndWithTheRightToThem(t *testing.T) {
	t.Parallel()
	const kept = vezechat.ScopeChatAdmin // keeps them, in the room or not
	for _, tt := range []struct {
		name string
		ends bool
		as   []vezechat.Scope // besides
		lose func(d *deskWorld, room string, id int64)
	}{
		{"kicked", true, nil, func(d *deskWorld, room string, id int64) {
			d.must(204, "DELETE", fmt.Sprintf("%s/members/%d", room, id), d.as(alice), "")
		}},
		{"leaves", true, nil, func(d *deskWorld, room string, _ int64) {
			d.must(204, "POST", room+"/leave", d.as(bob), "")
		}},
		{"no moderator any more", true, nil, func(d *deskWorld, room string, id int64) {
			d.must(200, "PUT", fmt.Sprintf("%s/members/%d", room, id), d.as(alice), `{"role":"member"}`)
		}},
		{"banned from the room", true, nil, func(d *deskWorld, room string, id int64) {
			d.must(200, "POST", "/moderation/actions", d.as(alice), fmt.Sprintf(`{"action":"ban","room_id":%s,"user_id":%d}`, strings.TrimPrefix(room, "/rooms/"), id))
		}},
		{"banned from the hub", true, nil, func(d *deskWorld, _ string, id int64) {
			d.must(200, "POST", "/moderation/actions", d.admin(), fmt.Sprintf(`{"action":"ban","user_id":%d,"for":3600}`, id))
		}},
		{"muted", false, nil, func(d *deskWorld, room string, id int64) {
			d.must(200, "POST", "/moderation/actions", d.as(alice), fmt.Sprintf(`{"action":"mute","room_id":%s,"user_id":%d}`, strings.TrimPrefix(room, "/rooms/"), id))
		}},
		{"made the owner", false, nil, func(d *deskWorld, room string, id int64) {
			d.must(200, "PUT", fmt.Sprintf("%s/members/%d", room, id), d.as(alice), `{"role":"owner"}`)
		}},
		{"an administrator leaves", false, []vezechat.Scope{kept}, func(d *deskWorld, room string, _ int64) {
			d.must(204, "POST", room+"/leave", d.as(bob, kept), "")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newHookWorld(t)
			room := d.guildOf(alice, "Guild")
			maker := d.as(bob, tt.as...)
			d.must(200, "GET", "/auth/me", maker, "") // what they are on the hub is remembered
			id := d.user(bob)
			d.must(200, "PUT", fmt.Sprintf("%s/members/%d", room, id), d.as(alice), `{"role":"moderator"}`)
			var mine inHook
			d.must(201, "POST", room+"/hooks/incoming", maker, `{"name":"Build"}`).json(t, &mine)
			h := d.outgoing(room+"/hooks/outgoing", maker, "Tell", "https://example.com/hook", created)
			var hers inHook
			d.must(201, "POST", room+"/hooks/incoming", d.as(alice), `{"name":"Hers"}`).json(t, &hers)
			others := d.outgoing(room+"/hooks/outgoing", d.as(alice), "Others", "https://example.com/hook", created)
			d.must(201, "POST", mine.Path, nil, `{"text":"before"}`)

			tt.lose(d, room, id)

			want := 201
			if tt.ends {
				want = 404
			}
			if a := d.do("POST", mine.Path, nil, `{"text":"afterwards"}`); a.status != want {
				t.Errorf("posting by the incoming hook: %d %s, want %d", a.status, a.body, want)
			}
			now := d.hook(h.ID, room)
			if now.On == tt.ends || tt.ends && now.OffReason != vezechat.HookOffMaker {
				t.Errorf("the outgoing hook: %+v", now)
			}
			d.must(201, "POST", hers.Path, nil, `{"text":"hers"}`)
			if o := d.hook(others.ID, room); !o.On || o.MadeBy != "@alice" {
				t.Errorf("another's outgoing hook: %+v", o)
			}
			if !tt.ends {
				return
			}
			notice := "Tell[bot]: This hook was turned off: " + vezechat.HookOffMaker + ". It was made by @bob; it becomes theirs who turn it on again."
			d.until("a notice in the room", func() bool { return slices.Contains(d.texts(room, d.as(alice)), notice) })
			d.must(200, "PATCH", fmt.Sprintf("/hooks/outgoing/%d", h.ID), d.as(alice), `{"on":true}`)
			if now := d.hook(h.ID, room); !now.On || now.MadeBy != "@alice" {
				t.Errorf("turned on by the owner: %+v", now)
			}
		})
	}
}
