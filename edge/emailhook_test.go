package edge_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/outgoing"
)

func hookSecret() outgoing.Secret {
	return outgoing.NewSecretOf([]byte("a key of the tests"), "hooks")
}

// mailed is an e-mail that comes, as a service brings it.
type mailed map[string]any

// bring brings an e-mail, and returns what became of it.
func (d *deskWorld) bring(m mailed) (outcome string, a answer) {
	d.t.Helper()
	body, err := json.Marshal(m)
	must(d.t, err)
	return d.bringRaw("application/json", string(body), hookSecret())
}

func (d *deskWorld) bringRaw(typ, body string, secret outgoing.Secret) (outcome string, a answer) {
	d.t.Helper()
	for range 20 {
		h := http.Header{"Content-Type": {typ}}
		outgoing.Sign(h, "hook-1", d.clock.Now(), []byte(body), secret)
		if a = d.do("POST", "/hooks/email", h, body); a.status != 503 {
			break
		}
	}
	var out struct{ Outcome string }
	if a.status == 200 {
		must(d.t, json.Unmarshal([]byte(a.body), &out))
	}
	return out.Outcome, a
}

// known makes somebody whose address is verified.
func (d *deskWorld) known(handle string) vezechat.UserID {
	d.t.Helper()
	id := vezechat.UserID(d.user(handle))
	d.sql(`UPDATE users SET email = '` + handle + `@mail.example', email_verified = true WHERE id = ` + id.String() + ` RETURNING 1`)
	return id
}

// replyTo is where somebody answers the e-mails of a ticket.
func (d *deskWorld) replyTo(ticket string, u vezechat.UserID) string {
	id, err := vezechat.ParseTicketID(ticket)
	must(d.t.(*testing.T), err)
	return emailSigner().ReplyAddress(id, u, "reply.example")
}

// comments are the texts of a ticket, with the flags of each.
func (d *deskWorld) comments(ticket string) (out []string) {
	d.t.Helper()
	var list struct{ Messages []vezechat.Message }
	must(d.t.(*testing.T), json.Unmarshal([]byte(d.must(200, "GET", "/tickets/"+ticket+"/comments", d.staff(), "").body), &list))
	for _, m := range list.Messages {
		out = append(out, fmt.Sprint(m.Handle, m.Flags, " ", m.Text))
	}
	return out
}

// filed makes a ticket with an attachment, and returns the numbers of both.
func (m *deskMaker) filed() (ticket, file string) {
	m.t.Helper()
	ticket = m.asked()
	m.known(ann)
	m.bring(mailed{"message_id": m.name("<m"), "from": ann + "@mail.example", "to": []string{m.replyTo(ticket, m.known(ann))}, "text": "see there",
		"attachments": []mailed{{"name": "evil.html", "type": "text/html", "content": base64.StdEncoding.EncodeToString([]byte("<script>x()</script>"))}}})
	return ticket, fmt.Sprint(m.sql(`SELECT id FROM email_attachments WHERE ticket_id = ` + ticket))
}

// An answer is a comment of the right ticket by the right person, once however often it
// comes, with its attachments and without what it quotes.
func TestEmailHook_Answers(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	m := &deskMaker{deskWorld: d}
	ticket, other := m.asked(), m.asked()
	requester, staff := d.known(ann), d.known(agent)
	d.must(200, "PUT", fmt.Sprintf("/agents/%d", staff), d.admin(), `{"capacity":100}`)
	d.must(200, "POST", "/tickets/"+ticket+"/assign", d.admin(), fmt.Sprintf(`{"assignee_id":%d}`, staff))
	mail := mailed{
		"message_id": "<m1@mail.example>", "from": "Ann <ANN@mail.example>", "to": []string{strings.ToUpper(d.replyTo(ticket, requester))},
		"text":        "It works.\n\nOn Monday, 23 November, Support wrote:\n> " + vezechat.EmailMarker + "\n> old",
		"attachments": []mailed{{"name": "log.txt", "type": "text/plain", "content": base64.StdEncoding.EncodeToString([]byte("warp"))}, {"name": "big.bin"}},
	}
	for i, want := range []string{"comment", "duplicate", "duplicate"} {
		if got, a := d.bring(mail); got != want {
			t.Fatalf("the %dth time: %d %s", i, a.status, a.body)
		}
	}
	raw := "From: agent@mail.example\r\nTo: x@y.example, " + d.replyTo(ticket, staff) + "\r\nMessage-ID: <m2@mail.example>\r\nContent-Type: text/plain\r\n\r\nGood.\r\n"
	if got, a := d.bringRaw("message/rfc822", raw, hookSecret()); got != "comment" {
		t.Fatalf("of the staff: %d %s", a.status, a.body)
	}
	d.until("both comments", func() bool { return len(d.comments(ticket)) == 2 })
	file := d.sql(`SELECT id FROM email_attachments`)
	want := []string{
		fmt.Sprintf("@ann[] It works.\n\n📎 log.txt https://hub.example/tickets/%s/attachments/%d\nLeft out: big.bin", ticket, file), "@agent[staff] Good.",
	}
	if got := d.comments(ticket); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := d.comments(other); len(got) != 0 {
		t.Errorf("the other ticket has %q", got)
	}
	var list struct{ Attachments []vezechat.TicketFile }
	d.must(200, "GET", "/tickets/"+ticket+"/attachments", d.as(ann), "").json(t, &list)
	if len(list.Attachments) != 1 || list.Attachments[0].Name != "log.txt" || list.Attachments[0].Size != 4 || list.Attachments[0].MessageID == 0 {
		t.Errorf("%+v", list)
	}
	at := fmt.Sprintf("/attachments/%d", file)
	a := d.must(200, "GET", "/tickets/"+ticket+at, d.as(ann), "")
	if a.body != "warp" || a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("Content-Disposition") != `attachment; filename=log.txt` || !strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%q %v", a.body, a.header)
	}
	d.must(404, "GET", "/tickets/"+other+at, d.as(ann), "")
	d.must(404, "GET", "/tickets/"+ticket+at, d.as("eve"), "")
}

// Who is not the one to whom the e-mail was sent says nothing, and neither does a
// program; a hook that is not signed is refused.
func TestEmailHook_NotTaken(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	m := &deskMaker{deskWorld: d}
	ticket, other := m.asked(), m.asked()
	requester, eve := d.known(ann), d.known("eve")
	good := d.replyTo(ticket, requester)
	_, mac, _ := strings.Cut(good, ".")
	n := 0
	send := func(change mailed) mailed {
		n++
		out := mailed{"message_id": fmt.Sprintf("<n%d@mail.example>", n), "from": "ann@mail.example", "to": []string{good}, "text": "hello"}
		for k, v := range change {
			out[k] = v
		}
		return out
	}
	for _, c := range []struct {
		name, want string
		change     mailed
	}{
		{"another sender", "nobody", mailed{"from": "eve@mail.example"}},
		{"another's address", "nobody", mailed{"to": []string{d.replyTo(ticket, eve)}, "from": "eve@mail.example"}},
		{"the mac of another ticket", "nobody", mailed{"to": []string{"reply+" + other + "." + mac}}},
		{"made up", "nobody", mailed{"to": []string{"reply+" + ticket + ".aaaaaaaaaaaaaaaa@reply.example"}}},
		{"no such ticket", "nobody", mailed{"to": []string{d.replyTo("999999", requester)}}},
		{"another domain", "nobody", mailed{"to": []string{strings.Replace(good, "@reply.example", "@evil.example", 1)}}},
		{"nobody's", "nobody", mailed{"to": []string{"support@reply.example"}}},
		{"empty", "empty", mailed{"text": "> old\n> older"}},
		{"out of office", "automatic", mailed{"headers": mailed{"Auto-Submitted": "auto-replied"}}},
		{"vacation of old", "automatic", mailed{"headers": mailed{"Precedence": "bulk"}}},
		{"our own", "automatic", mailed{"headers": mailed{"X-VEZEChat-Email": "1", "Auto-Submitted": "auto-generated"}}},
		{"null sender", "automatic", mailed{"headers": mailed{"Return-Path": "<>"}}},
		{"late", "automatic", mailed{"from": "mailer-daemon@mx.example", "delivery_status": "Action: delayed\nStatus: 4.4.1"}},
		{"full", "bounce", mailed{"from": "mailer-daemon@mx.example", "delivery_status": "Action: failed\nStatus: 4.2.2"}},
		{"no such mailbox", "bounce", mailed{"from": "mailer-daemon@mx.example", "delivery_status": "Action: failed\nStatus: 5.1.1"}},
	} {
		if got, a := d.bring(send(c.change)); got != c.want {
			t.Errorf("%s: %d %s, want %s", c.name, a.status, a.body, c.want)
		}
	}
	if got := d.comments(ticket); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := d.sql(`SELECT count(*) FROM ticket_history WHERE kind = 'email' AND ticket_id = ` + ticket); got != 7 {
		t.Errorf("%d notes in the history", got)
	}
	var choices vezechat.EmailChoices
	d.must(200, "GET", "/users/me/email", d.as(ann), "").json(t, &choices)
	if !choices.Bounced {
		t.Error("a mailbox that is not there is written to again")
	}
	body := `{"from":"ann@mail.example","to":["` + good + `"],"text":"x"}`
	if _, a := d.bringRaw("application/json", body, outgoing.NewSecret()); a.status != 401 {
		t.Errorf("another secret: %d %s", a.status, a.body)
	}
	if _, a := d.bringRaw("text/plain", body, hookSecret()); a.status != 400 {
		t.Errorf("no e-mail: %d %s", a.status, a.body)
	}
	if _, a := d.bringRaw("application/json", `{"from":"nobody"}`, hookSecret()); a.status != 400 {
		t.Errorf("malformed: %d %s", a.status, a.body)
	}
}

// Two programs that answer each other without saying that they are programs stop.
func TestEmailHook_NoLoop(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	m := &deskMaker{deskWorld: d}
	ticket, requester := m.asked(), d.known(ann)
	count := map[string]int{}
	for i := range vezechat.MaxAnswersAnHour + 10 {
		d.clock.Add(5e9) // what one may say in a while
		got, _ := d.bring(mailed{"message_id": fmt.Sprintf("<l%d@mail.example>", i), "from": "ann@mail.example", "to": []string{d.replyTo(ticket, requester)}, "text": fmt.Sprintf("I am away %d", i)})
		count[got]++
	}
	if count["comment"] != vezechat.MaxAnswersAnHour || count["refused"] != 10 {
		t.Errorf("%v", count)
	}
}

// A guest answers from the address that they left, and what is said in a closed ticket
// goes on in one that follows it.
func TestEmailHook_GuestsAndClosed(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	m := &deskMaker{deskWorld: d}
	g := d.visit("hello")
	d.must(200, "POST", "/support/email", g.header(), `{"email":"guest@mail.example"}`)
	visited := g.Ticket.ID.String()
	if got, a := d.bring(mailed{"message_id": "<g1>", "from": "guest@mail.example", "to": []string{d.replyTo(visited, vezechat.UserID(g.User.ID))}, "text": "still here"}); got != "comment" {
		t.Errorf("%d %s", a.status, a.body)
	}
	d.must(200, "POST", "/tickets/"+visited+"/transition", d.staff(), `{"move":"spam"}`)
	d.until("the door is closed", func() bool {
		got, _ := d.bring(mailed{"message_id": m.name("<g"), "from": "guest@mail.example", "to": []string{d.replyTo(visited, vezechat.UserID(g.User.ID))}, "text": "and now?"})
		return got == "refused"
	})
	closed, requester := m.asked(), d.known(ann)
	d.must(200, "POST", "/tickets/"+closed+"/transition", d.staff(), `{"move":"solve"}`)
	d.sql(`UPDATE tickets SET status = 'closed', closed_at = now(), close_reason = 'expired', expire_at = NULL WHERE id = ` + closed + ` RETURNING 1`)
	if got, a := d.bring(mailed{"message_id": "<c1>", "from": "ann@mail.example", "to": []string{d.replyTo(closed, requester)}, "text": "It is broken again, and worse."}); got != "comment" {
		t.Errorf("%d %s", a.status, a.body)
	}
	d.until("a ticket that follows", func() bool { return d.sql(`SELECT count(*) FROM tickets WHERE follow_up_of = `+closed) == 1 })
}

// An answer to an e-mail about direct messages goes to them.
func TestEmailHook_DirectMessages(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	m := &deskMaker{deskWorld: d}
	to := d.known(ann)
	d.user("bob")
	var dm struct {
		Room int64 `json:"room_id"`
	}
	d.must(200, "POST", "/dms", d.as("bob"), `{"to":"@ann"}`).json(t, &dm)
	ticket := m.asked()
	d.sql(fmt.Sprintf(`INSERT INTO email_dms (room_id, user_id, ticket_id, last_seq) VALUES (%d, %d, %s, 1) RETURNING 1`, dm.Room, to, ticket))
	got, a := d.bring(mailed{"message_id": "<d1>", "from": "ann@mail.example", "to": []string{d.replyTo(ticket, to)}, "text": "on my way",
		"attachments": []mailed{{"name": "map.png", "type": "image/png", "content": "aGk="}}})
	if got != "comment" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	d.until("the other reads it", func() bool {
		return strings.Contains(d.must(200, "GET", fmt.Sprintf("/rooms/%d/messages", dm.Room), d.as("bob"), "").body, `"text":"on my way\n\nLeft out: map.png"`)
	})
	if n := d.sql(`SELECT count(*) FROM email_attachments`); n != 0 {
		t.Errorf("%d attachments", n)
	}
}
