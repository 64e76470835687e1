package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

func emailSigner() *vezechat.EmailSigner {
	return vezechat.NewEmailSigner([]byte("a key of the tests"), []byte("the one before"))
}

// email makes an e-mail that was given up, and returns its number.
func (m *deskMaker) email() string {
	m.t.Helper()
	ticket := m.asked()
	return fmt.Sprint(m.sql(`
INSERT INTO emails (kind, user_id, ticket_id, state, mail, tries, why, made_at, due_at, done_at)
SELECT 'ticket', requester_id, id, 'dead', '{}', 3, '<b>no</b>', now(), now(), now() FROM tickets WHERE id = ` + ticket + ` RETURNING id`))
}

// sql asks the database for a number.
func (d *deskWorld) sql(q string) (n int64) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.url)
	must(d.t, err)
	defer conn.Close(d.t.Context())
	must(d.t, conn.QueryRow(d.t.Context(), q).Scan(&n))
	return n
}

// A link of an e-mail unsubscribes whom it was sent to, and nobody else; looking at it
// does not, and no session is needed (RFC 8058).
func TestEmails_Unsubscribe(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	me, other := vezechat.UserID(d.user("me")), vezechat.UserID(d.user("other"))
	choices := func() (c vezechat.EmailChoices) {
		d.must(200, "GET", "/users/me/email", d.as("me"), "").json(t, &c)
		return c
	}
	link := func(u vezechat.UserID, k vezechat.EmailKind, proof string) string {
		return "/email/unsubscribe?user=" + u.String() + "&kind=" + string(k) + "&proof=" + proof
	}
	s := emailSigner()
	old := vezechat.NewEmailSigner([]byte("the one before"))
	good := link(me, vezechat.EmailTicket, s.Unsubscribe(me, vezechat.EmailTicket))
	for name, bad := range map[string]string{
		"another's":    link(me, vezechat.EmailTicket, s.Unsubscribe(other, vezechat.EmailTicket)),
		"another kind": link(me, vezechat.EmailTicket, s.Unsubscribe(me, vezechat.EmailDM)),
		"no kind":      link(me, "all", s.Unsubscribe(me, "all")),
		"made up":      link(me, vezechat.EmailTicket, "aaaaaaaaaaaaaaaa"),
		"none":         link(me, vezechat.EmailTicket, ""),
		"another key":  link(me, vezechat.EmailTicket, vezechat.NewEmailSigner([]byte("x")).Unsubscribe(me, vezechat.EmailTicket)),
		"a reply's":    link(me, vezechat.EmailTicket, strings.Split(strings.Split(s.ReplyAddress(1, me, "d"), ".")[1], "@")[0]),
	} {
		if a := d.do("POST", bad, nil, ""); a.status != 404 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	page := d.do("GET", good, http.Header{"Accept": {"text/html"}}, "")
	if page.status != 200 || !strings.Contains(page.body, `action="/email/unsubscribe?user=`) || choices() != (vezechat.EmailChoices{Tickets: true, DMs: true}) {
		t.Errorf("looking: %d, %+v, %s", page.status, choices(), page.body)
	}
	a := d.do("POST", good, http.Header{"Content-Type": {formType}}, "List-Unsubscribe=One-Click")
	if a.status != 200 || choices() != (vezechat.EmailChoices{DMs: true}) {
		t.Errorf("one click: %d %s, %+v", a.status, a.body, choices())
	}
	d.must(200, "PUT", "/users/me/email", d.as("me"), `{"tickets":true}`)
	d.must(200, "POST", link(me, vezechat.EmailDM, old.Unsubscribe(me, vezechat.EmailDM)), nil, "")
	if choices() != (vezechat.EmailChoices{Tickets: true}) {
		t.Errorf("a link of the key before: %+v", choices())
	}
}

// The page of e-mails shows why one was given up, as text, and has it tried again.
func TestEmails_Page(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	m := &deskMaker{deskWorld: d}
	id := m.email()
	h, csrf := d.browserAs(boss, vezechat.ScopeChatAdmin)
	page := d.do("GET", "/admin/emails", h, "")
	if page.status != 200 || !strings.Contains(page.body, "&lt;b&gt;no&lt;/b&gt;") || !strings.Contains(page.body, "/admin/emails/"+id+"/retry") {
		t.Fatalf("%d %s", page.status, page.body)
	}
	a := d.do("POST", "/admin/emails/"+id+"/retry", with(h, "Content-Type", formType), form("_csrf", csrf))
	if a.status != 303 || a.header.Get("Location") != "/admin/emails" {
		t.Errorf("%d %s", a.status, a.body)
	}
	var list struct{ Emails []vezechat.Email }
	d.must(200, "GET", "/admin/emails?state=ready", d.admin(), "").json(t, &list)
	if len(list.Emails) != 1 || list.Emails[0].Tries != 0 {
		t.Errorf("%+v", list)
	}
	for path, want := range map[string]int{"/admin/emails/999/retry": 404, "/admin/emails/x/retry": 400} {
		if a := d.do("POST", path, d.admin(), ""); a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := d.do("GET", "/admin/emails?state=lost", d.admin(), ""); a.status != 400 {
		t.Errorf("%d", a.status)
	}
}

// browserAs is the header of a browser in which somebody with more scopes is signed in.
func (d *deskWorld) browserAs(handle string, more ...vezechat.Scope) (http.Header, string) {
	d.t.Helper()
	u, err := d.store.User(d.t.Context(), vezechat.UserQuery{ID: vezechat.UserID(d.user(handle))})
	must(d.t, err)
	s, cookie, err := d.sess.Begin(u, append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}, more...))
	must(d.t, err)
	return http.Header{"Cookie": {"veze_session=" + cookie}, "Accept": {"text/html"}, "Origin": {"http://example.com"}}, d.sess.CSRF(s)
}
