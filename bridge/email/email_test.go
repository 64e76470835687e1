package email_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/email"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// What a process that is to be killed is told.
var (
	childDB   = flag.String("child-db", "", "of a process that a test kills: its PostgreSQL")
	childMail = flag.String("child-mail", "", "of a process that a test kills: its mail service")
)

// TestChild is the process that TestRole_EachUpdateOnce kills.
func TestChild(t *testing.T) { //nolint:paralleltest // it is alone in its process
	if *childDB == "" {
		t.Skip("this is for processes that a test starts")
	}
	store, err := postgres.Open(t.Context(), *childDB, postgres.Options{MaxConns: 4})
	must(t, err)
	sender, err := email.NewHTTPSender(*childMail, "secret")
	must(t, err)
	cfg := config(store, sender)
	cfg.MaxTries = 1000
	r, err := email.New(cfg)
	must(t, err)
	must(t, r.Run(t.Context(), func() {}))
}

func (w *world) child() *exec.Cmd {
	w.t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.timeout=5m", "-child-db="+w.url, "-child-mail="+w.mail.server.URL)
	must(w.t, c.Start())
	return c
}

var updatePattern = regexp.MustCompile(`update (\d+)\.(\d+)\b`)

// Each update is told in one e-mail and none is lost, although the mail service fails in
// every way and processes are killed with -9; and nobody gets two e-mails of a ticket in
// one quiet period.
func TestRole_EachUpdateOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.CollectEmails(t.Context(), time.Second, 1)
	must(t, err)
	rnd := rand.New(rand.NewPCG(7, 11))
	w.mail.behave(nil, rand.New(rand.NewPCG(3, 5)))
	const tickets, updates = 6, 15
	var all []vezechat.Ticket
	for i := range tickets {
		all = append(all, w.ticket(w.ann, fmt.Sprint("ticket ", i)))
	}
	running := []*exec.Cmd{w.child(), w.child()}
	kill := func(i int) {
		_ = running[i].Process.Kill() // SIGKILL
		_ = running[i].Wait()
	}
	defer func() { kill(0); kill(1) }()
	for n := range updates {
		for i, tk := range all {
			w.say(w.agent, tk.Room, fmt.Sprintf("update %d.%d", i, n))
		}
		time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond)
		if n%3 == 2 {
			i := rnd.IntN(2)
			kill(i)
			running[i] = w.child()
		}
	}
	told := func() map[string]int {
		out := map[string]int{}
		for _, m := range w.mail.mails() {
			for _, u := range updatePattern.FindAllString(m.Text, -1) {
				out[u]++
			}
		}
		return out
	}
	until(t, "all updates are told", func() bool { return len(told()) == tickets*updates })
	until(t, "all is sent", func() bool {
		b, err := w.EmailBacklog(t.Context())
		return err == nil && b.Collecting+b.Ready+b.Dead == 0
	})
	for u, n := range told() {
		if n != 1 {
			t.Errorf("%s was told %d times", u, n)
		}
	}
	last := map[string]time.Time{}
	mails := w.mail.mails()
	for _, m := range mails {
		if before, ok := last[m.Subject]; ok && m.at.Sub(before) < 50*time.Millisecond {
			t.Errorf("two e-mails of %q within %v", m.Subject, m.at.Sub(before))
		}
		last[m.Subject] = m.at
	}
	if len(mails) >= tickets*updates {
		t.Errorf("%d e-mails for %d updates: nothing was gathered", len(mails), tickets*updates)
	}
	w.mail.mu.Lock()
	defer w.mail.mu.Unlock()
	if w.mail.again == 0 {
		t.Error("no e-mail was tried twice: this test has shown nothing")
	}
}

// An e-mail has what threads it, says that no program is to answer it, and how to get no
// more; what people typed breaks neither headers nor HTML.
func TestRole_WhatIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.config())
	tk := w.ticket(w.ann, `<b>Lost</b> & "found" Bcc: x@y.example`)
	w.say(w.agent, tk.Room, "<script>alert(1)</script>\r\n##- Please write your answer above this line -##\nsecond line")
	until(t, "an e-mail", func() bool { return len(w.mail.mails()) == 1 })
	m := w.mail.mails()[0]
	if len(m.To) != 1 || m.To[0] != "<ann@mail.example>" || m.From != `"Support" <support@hub.example>` {
		t.Errorf("from %q to %q", m.From, m.To)
	}
	if want := fmt.Sprintf(`[Ticket %d] <b>Lost</b> & "found" Bcc: x@y.example`, tk.ID); m.Subject != want {
		t.Errorf("subject %q, want %q", m.Subject, want)
	}
	for _, no := range []string{"<script>", "<b>Lost"} {
		if strings.Contains(m.HTML, no) {
			t.Errorf("%q in the HTML:\n%s", no, m.HTML)
		}
	}
	for _, yes := range []string{"&lt;script&gt;", "second line", "@agent wrote:", fmt.Sprintf("https://hub.example/chat/tickets/%d", tk.ID)} {
		if !strings.Contains(m.HTML, yes) {
			t.Errorf("no %q in the HTML:\n%s", yes, m.HTML)
		}
	}
	if strings.Count(m.Text, "##-") != 1 || !strings.Contains(m.Text, "<script>alert(1)</script>\n") {
		t.Errorf("the text:\n%s", m.Text)
	}
	root := fmt.Sprintf("<ticket-%d@hub.example>", tk.ID)
	for k, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All", "References": root, "In-Reply-To": root, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
	} {
		if m.Headers[k] != want {
			t.Errorf("%s: %q, want %q", k, m.Headers[k], want)
		}
	}
	s := vezechat.NewEmailSigner([]byte("a key of the tests"))
	if want := "<https://hub.example/chat/email/unsubscribe?user=" + w.ann.UserID.String() + "&kind=ticket&proof=" + s.Unsubscribe(w.ann.UserID, vezechat.EmailTicket) + ">"; m.Headers["List-Unsubscribe"] != want {
		t.Errorf("List-Unsubscribe %q, want %q", m.Headers["List-Unsubscribe"], want)
	}
	reply, ok := vezechat.ParseReplyAddress(strings.ToUpper(m.ReplyTo), "reply.example")
	if !ok || reply.Ticket != tk.ID || !s.Replies(reply, w.ann.UserID) || s.Replies(reply, w.agent.UserID) {
		t.Errorf("reply to %q: %v", m.ReplyTo, ok)
	}
	if !strings.HasSuffix(m.MessageID, "@hub.example>") {
		t.Errorf("Message-ID %q", m.MessageID)
	}
}

// Who may not see something is not told it, nobody is told what they did or have read, and
// who wants no e-mail gets none.
func TestRole_WhomIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.CollectEmails(t.Context(), time.Second, 1)
	must(t, err)
	bob, carol := w.user("bob"), w.user("carol")
	_, err = w.EnsureUser(t.Context(), vezechat.Identity{Issuer: "test", Subject: "dan", Handle: "dan", Email: "dan@mail.example"}) // not verified
	must(t, err)
	no := false
	_, err = w.ChooseEmails(t.Context(), vezechat.ChooseEmails{UserID: carol.UserID, Tickets: &no})
	must(t, err)
	tk, read, unwanted := w.ticket(w.ann, "told"), w.ticket(bob, "read"), w.ticket(carol, "unwanted")
	_, err = w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: vezechat.TicketRef{Caller: w.boss, TicketID: tk.ID}, Assignee: w.agent.UserID})
	must(t, err)
	w.append()
	w.say(w.ann, tk.Room, "the requester says")
	w.say(w.boss, tk.NotesRoom, "a note of the team")
	gone := w.say(w.boss, tk.Room, "the team says, and takes it back")
	w.append(vezechat.Event{Type: vezechat.EventMessageDeleted, RoomID: tk.Room, MessageID: gone, UserID: w.boss.UserID, Handle: w.boss.Handle, At: time.Now()})
	w.say(w.boss, tk.Room, "the team says")
	id := w.say(w.agent, read.Room, "this is read in time")
	must(t, w.MarkRead(t.Context(), []vezechat.ReadMark{{Caller: bob, RoomID: read.Room, Upto: id}}))
	w.say(w.agent, unwanted.Room, "this is not wanted")
	w.run(w.config())
	until(t, "two e-mails", func() bool {
		b, err := w.EmailBacklog(t.Context())
		return err == nil && b == vezechat.EmailBacklog{} && len(w.mail.mails()) == 2
	})
	for _, m := range w.mail.mails() {
		want, not := []string{"the team says", "takes care of it"}, []string{"the requester says", "a note", "takes it back", "@boss by"}
		if m.To[0] == "<agent@mail.example>" {
			want, not = []string{"the requester says", "@boss noted for the team:\n\na note of the team", "the team says", "The ticket is yours"}, []string{"takes it back"}
		}
		for _, s := range want {
			if !strings.Contains(m.Text, s) {
				t.Errorf("%s is not told %q:\n%s", m.To[0], s, m.Text)
			}
		}
		for _, s := range not {
			if strings.Contains(m.Text, s) {
				t.Errorf("%s is told %q:\n%s", m.To[0], s, m.Text)
			}
		}
	}
}

// What is refused is given up at once, what fails after MaxTries; an administrator sees
// it, and has it tried again under the same key.
func TestRole_DeadLetters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		status, tries int
	}{{"refused", 422, 1}, {"failing", 503, 3}, {"not let in", 401, 3}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.mail.behave(func(int) int { return c.status }, nil)
			cfg := w.config()
			cfg.MaxTries = 3
			w.run(cfg)
			tk := w.ticket(w.ann, "a ticket")
			w.say(w.agent, tk.Room, "an update")
			dead := func() []vezechat.Email {
				list, err := w.Emails(t.Context(), vezechat.EmailQuery{Caller: w.boss, State: vezechat.EmailDead})
				must(t, err)
				return list
			}
			until(t, "it is given up", func() bool { return len(dead()) == 1 })
			m := dead()[0]
			if m.Tries != c.tries || m.TicketID != tk.ID || m.UserID != w.ann.UserID || m.Updates != 1 || !strings.Contains(m.Why, fmt.Sprint(c.status)) || strings.ContainsAny(m.Why, "\r\n") {
				t.Errorf("%+v", m)
			}
			if _, err := w.RetryEmail(t.Context(), vezechat.EmailRef{Caller: w.agent, ID: m.ID}); vezechat.CodeOf(err) != vezechat.CodeForbidden {
				t.Errorf("an agent has it tried again: %v", err)
			}
			w.mail.behave(nil, nil)
			if _, err := w.RetryEmail(t.Context(), vezechat.EmailRef{Caller: w.boss, ID: m.ID}); err != nil {
				t.Fatal(err)
			}
			until(t, "it is sent", func() bool { return len(w.mail.mails()) == 1 })
			until(t, "that is noted", func() bool {
				list, err := w.Emails(t.Context(), vezechat.EmailQuery{Caller: w.boss, State: vezechat.EmailSent})
				return err == nil && len(list) == 1
			})
			if _, err := w.RetryEmail(t.Context(), vezechat.EmailRef{Caller: w.boss, ID: m.ID}); vezechat.CodeOf(err) != vezechat.CodeConflict {
				t.Errorf("what was sent is tried again: %v", err)
			}
			var kept int
			must(t, w.pool.QueryRow(t.Context(), `SELECT count(*) FROM emails WHERE mail IS NOT NULL`).Scan(&kept))
			if kept != 0 {
				t.Error("what was sent is kept")
			}
		})
	}
}
