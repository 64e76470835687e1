package edge_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/guard"
	"vezeuniqverse.com/vezechat/edge/identity"
)

// What a provider calls somebody is not always what they are called here: nobody passes
// for the staff or for somebody else, however the name is spelt, and nobody is called
// what nobody may say.
func TestPeople_Handles(t *testing.T) {
	t.Parallel()
	g, err := guard.New(guardRules(), 100)
	must(t, err)
	d := newDeskWorld(t, func(d *deskWorld) { d.guard = g })
	called := func(subject, handle string, scopes ...vezechat.Scope) string {
		t.Helper()
		tok, err := d.dev.Mint(identity.Claims{Subject: subject, Handle: handle, Scopes: append(scopes, vezechat.ScopeChatRead)}, time.Hour)
		must(t, err)
		a := d.must(200, "GET", "/auth/me", http.Header{"Authorization": {"Bearer " + tok}}, "")
		var me struct{ User struct{ Handle string } }
		must(t, decode(a.body, &me))
		return me.User.Handle
	}
	if got := called("boss", "Admin", vezechat.ScopeChatAdmin); got != "@Admin" {
		t.Errorf("an administrator is called %s", got)
	}
	if got := called("ship", "pilot"); got != "@pilot" {
		t.Errorf("somebody is called %s", got)
	}
	seen := map[string]bool{"@Admin": true, "@pilot": true}
	for subject, handle := range map[string]string{
		"m1": "admin", "m2": "аdmin", "m3": "adm1n", "m4": "admln", "m5": "a_d_m_i_n", "m6": "ADMIN\u200b", "m7": "\u202eadmin", "m8": "moderator", "m9": "VezeChat",
		"g1": "kwaffel", "g2": "kw4ffel", "g3": "k_w_a_f_f_e_l", "g4": "grobbel", "g5": "holdword",
	} {
		got := called(subject, handle)
		if !strings.HasPrefix(got, "@player") || seen[got] {
			t.Errorf("%q is called %s, want @player and a number of their own", handle, got)
		}
		seen[got] = true
	}
	for subject, handle := range map[string]string{"p1": "pilot", "p2": "PILOT", "p3": "pіlot", "p4": "pil0t", "p5": "@pilot", "p6": "pi\u200blot", "p7": "pilot\u00ad", "p8": "ᴘɪʟᴏᴛ"} {
		got := called(subject, handle)
		if seen[got] || got == "@"+handle {
			t.Errorf("%q is called %s like somebody else", handle, got)
		}
		seen[got] = true
	}
	// A handle is of the first sight: who was let in as something else stays that.
	if got := called("ship", "admin"); got != "@pilot" {
		t.Errorf("somebody who is known is called %s now", got)
	}
}
