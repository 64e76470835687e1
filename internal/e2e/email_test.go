package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
	"vezeuniqverse.com/vezechat/internal/outgoing"
)

// postbox is a mail service with the mailboxes behind it: it takes an e-mail under its
// key once, and brings answers to the hub.
type postbox struct {
	t      *testing.T
	hub    string
	secret outgoing.Secret

	mu   sync.Mutex // guards below
	keys map[string]bool
	got  []letterTo
}

// letterTo is an e-mail as the hub hands it over.
type letterTo struct {
	To        []string          `json:"to"`
	ReplyTo   string            `json:"reply_to"`
	Subject   string            `json:"subject"`
	Text      string            `json:"text"`
	MessageID string            `json:"message_id"`
	Headers   map[string]string `json:"headers"`
}

// ServeHTTP takes an e-mail.
func (p *postbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m letterTo
	key := r.Header.Get("Idempotency-Key")
	if r.URL.Path != "/jmap/send" || key == "" || r.Header.Get("Authorization") != "Bearer mail-token" || json.NewDecoder(r.Body).Decode(&m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.keys[key] {
		p.keys[key] = true
		p.got = append(p.got, m)
	}
	w.WriteHeader(http.StatusAccepted)
}

// to are the e-mails to somebody, in order.
func (p *postbox) to(address string) (list []letterTo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.got {
		if strings.Contains(strings.Join(m.To, " "), "<"+address+">") {
			list = append(list, m)
		}
	}
	return list
}

// answer is what somebody, or their program, says to an e-mail.
func (p *postbox) answer(m letterTo, from, text string, headers map[string]string) string {
	p.t.Helper()
	body, err := json.Marshal(object{
		"message_id": "<" + fresh("answer") + "@mail.example>", "from": from, "to": []string{m.ReplyTo}, "subject": "Re: " + m.Subject, "text": text, "headers": headers,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), "POST", p.hub+"/hooks/email", strings.NewReader(string(body)))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	outgoing.Sign(req.Header, fresh("hook"), time.Now(), body, p.secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct{ Outcome string }
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != 200 {
		p.t.Fatalf("%s: %v", res.Status, err)
	}
	return out.Outcome
}

// verified is somebody whose address the hub may write to.
func (h *hub) verified(t *testing.T, handle, address, scopes string) calls {
	t.Helper()
	r := h.vezechat(t, "token", "--handle", handle, "--scope", "chat.read chat.write "+scopes, "--email", address, "--verified")
	if r.status != 0 {
		t.Fatalf("token: %+v", r)
	}
	return calls{client.REST{URL: h.url, Token: strings.TrimSpace(r.out)}, t}
}

// An update of a ticket goes out by e-mail, the answer comes back as a comment without what
// it quotes, and goes on to the assignee. Programs that answer by themselves make no loop:
// one that says so makes no comment, and of one that hides the other one is told once.
func TestEmail_ThereAndBack(t *testing.T) {
	t.Parallel()
	const key = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	secrets, err := outgoing.ParseSecrets(key)
	if err != nil {
		t.Fatal(err)
	}
	p := &postbox{t: t, secret: secrets[0], keys: map[string]bool{}}
	service := httptest.NewServer(p)
	defer service.Close()
	h := own(t, hubOptions{env: []string{
		"EMAIL_URL=" + service.URL, "EMAIL_TOKEN=mail-token", "EMAIL_FROM=Support <support@hub.example>", "EMAIL_QUIET=1s", "EMAIL_REPLY_DOMAIN=reply.example", "EMAIL_HOOK_SECRET=" + key,
	}})
	p.hub = h.url
	const annAt, bobAt = "ann@mail.example", "bob@mail.example"
	ann, bob, root := h.verified(t, "ann", annAt, ""), h.verified(t, "bob", bobAt, "ticket.manage"), h.desk(t, "root", "chat.admin ticket.manage")
	ann.must("GET", "/rooms", nil, nil)
	bob.must("GET", "/rooms", nil, nil)
	root.must("PUT", fmt.Sprintf("/agents/%s", h.query(t, "SELECT id FROM users WHERE handle = '@bob'")), object{"capacity": 100, "can_reply": true}, nil)
	var tk vezechat.Ticket
	ann.must("POST", "/tickets", object{"subject": "My ship is gone", "body": "It was docked at Nova."}, &tk)
	at := "/tickets/" + tk.ID.String()
	root.must("POST", at+"/assign", object{"assignee_id": json.Number(h.query(t, "SELECT id FROM users WHERE handle = '@bob'"))}, nil)
	eventually(t, "the assignee is told", func() bool { return len(p.to(bobAt)) == 1 })
	before := len(p.to(annAt)) // that it is taken care of, perhaps
	bob.must("POST", at+"/comments", object{"text": "It is in dock 7."}, nil)
	eventually(t, "the requester is told", func() bool {
		list := p.to(annAt)
		return len(list) > before && strings.Contains(list[len(list)-1].Text, "It is in dock 7.")
	})
	first := p.to(annAt)[len(p.to(annAt))-1]
	if got := p.answer(first, annAt, "I am away until Monday.", map[string]string{"Auto-Submitted": "auto-replied"}); got != "automatic" {
		t.Errorf("a program's answer: %s", got)
	}
	if got := p.answer(first, annAt, "Thank you, I see it.\n\n"+vezechat.EmailMarker+"\n> It is in dock 7.\n", nil); got != "comment" {
		t.Errorf("an answer: %s", got)
	}
	eventually(t, "the assignee is told of the answer", func() bool { return len(p.to(bobAt)) == 2 })
	second := p.to(bobAt)[1]
	if !strings.Contains(second.Text, "Thank you, I see it.") || strings.Contains(second.Text, "away until Monday") || strings.Contains(second.Text, "> It is in dock 7.") {
		t.Errorf("the assignee reads %s", second.Text)
	}
	told := len(p.to(annAt))
	if got := p.answer(second, bobAt, "Out of office, ask the others.", nil); got != "comment" { // a program that does not say that it is one
		t.Errorf("a program that hides: %s", got)
	}
	eventually(t, "the requester is told of it", func() bool { return len(p.to(annAt)) == told+1 })
	if got := p.answer(p.to(annAt)[told], annAt, "I am away until Monday.", map[string]string{"Precedence": "bulk"}); got != "automatic" {
		t.Errorf("a program's answer: %s", got)
	}
	time.Sleep(3 * time.Second) // three quiet periods: if something answered, it would be here
	if a, b := len(p.to(annAt)), len(p.to(bobAt)); a != told+1 || b != 2 {
		t.Errorf("%d and %d e-mails", a, b)
	}
	var said struct {
		Messages []struct {
			Text string `json:"text"`
		} `json:"messages"`
	}
	ann.must("GET", at+"/comments", nil, &said)
	var texts []string
	for _, m := range said.Messages {
		texts = append(texts, m.Text)
	}
	if want := []string{"It was docked at Nova.", "It is in dock 7.", "Thank you, I see it.", "Out of office, ask the others."}; !slices.Equal(texts, want) {
		t.Errorf("the ticket has %q, want %q", texts, want)
	}
	if n := h.query(t, "SELECT count(*) FROM emails WHERE state NOT IN ('sent')"); n != "0" {
		t.Errorf("%s e-mails are not sent", n)
	}
}
