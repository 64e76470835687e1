package edge_test

import (
	"strings"
	"testing"
)

// TestPages_Members: an owner adds somebody by handle with a plain form, they
// enter, and the owner removes them; nobody else is offered to.
func TestPages_Members(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, token := w.browser(alice)
	guest, guestToken := w.browser(eve)
	member, memberToken := w.browser(bob)
	post := func(path, handle string) answer {
		return w.do("POST", path, with(owner, "Content-Type", formType), form("handle", handle, "_csrf", token))
	}
	show := func(a answer) string {
		t.Helper()
		if a.status != 303 || a.header.Get("Location") != "/rooms/2" {
			t.Fatalf("a form: %d %v %s", a.status, a.header, a.body)
		}
		flash, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
		return w.do("GET", "/rooms/2", with(owner, "Cookie", owner.Get("Cookie")+"; "+flash), "").body
	}
	if a := w.do("GET", "/rooms/2", guest, ""); a.status != 404 {
		t.Fatalf("a stranger sees the room: %d", a.status)
	}
	if p := show(post("/rooms/2/members", "nobody-such")); !strings.Contains(p, "nobody here is called @nobody-such") || !strings.Contains(p, `value="@nobody-such"`) && !strings.Contains(p, `value="nobody-such"`) {
		t.Error("the page does not tell that there is no such handle")
	}
	if a := w.do("POST", "/rooms/2/members", w.as(alice), `{"handle":"nobody-such"}`); a.status != 404 || !strings.Contains(a.body, "@nobody-such") {
		t.Errorf("an unknown handle: %d %s", a.status, a.body)
	}
	remove := "/rooms/2/members/3/remove" // eve
	if p := show(post("/rooms/2/members", "@"+eve)); !strings.Contains(p, "@eve is a member now.") || !strings.Contains(p, `action="`+remove+`"`) {
		t.Error("the page does not show the new member")
	}
	if a := w.do("GET", "/rooms/2", guest, ""); a.status != 200 || strings.Contains(a.body, `id="invite"`) || strings.Contains(a.body, `/remove"`) {
		t.Errorf("the new member: %d, or is offered to change members", a.status)
	}
	for _, path := range []string{"/rooms/2/members", remove} {
		a := w.do("POST", path, with(member, "Content-Type", formType, "Accept", "application/json"), form("handle", eve, "_csrf", memberToken))
		if a.status != 403 {
			t.Errorf("a plain member at %s: %d %s", path, a.status, a.body)
		}
		a = w.do("POST", path, with(owner, "Content-Type", formType, "Accept", "application/json"), form("handle", eve, "_csrf", guestToken))
		if a.status != 403 {
			t.Errorf("a forged form at %s: %d %s", path, a.status, a.body)
		}
	}
	if p := show(post(remove, "")); !strings.Contains(p, "not a member any more") || strings.Contains(p, remove) {
		t.Error("the page still shows who was removed")
	}
	if a := w.do("GET", "/rooms/2", guest, ""); a.status != 404 {
		t.Errorf("who was removed: %d", a.status)
	}
	if a := w.do("POST", "/rooms/2/members", w.as(alice), "{}"); a.status != 400 {
		t.Errorf("nobody named: %d %s", a.status, a.body)
	}
	if a := w.do("POST", "/rooms/2/members", w.as(alice), `{"user_id":3}`); a.status != 200 {
		t.Errorf("by id: %d %s", a.status, a.body)
	}
}
