package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// said waits until storage has so many messages in one of a ticket's rooms.
func (d *deskWorld) said(at string, n int) []vezechat.Message {
	d.t.Helper()
	var p vezechat.MessagePage
	d.until(fmt.Sprintf("%d messages at %s", n, at), func() bool {
		if err := decode(d.must(200, "GET", at, d.staff(), "").body, &p); err != nil {
			d.t.Fatal(err)
		}
		return len(p.Messages) >= n
	})
	return p.Messages
}

// A comment is a message of the ticket's room, a note one of the staff's.
func TestComments_AreMessages(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff, hers := d.staff(), d.as(ann)
	at := d.ticket("Help", `,"body":"Where is my ship?"`)
	first := d.said(at+"/comments", 1)[0]
	a := d.must(201, "POST", at+"/comments", staff, fmt.Sprintf(`{"text":"At Nova.","reply_to":%d}`, first.ID))
	tk := ticketIn(t, d.must(200, "GET", at, staff, ""))
	if want := fmt.Sprintf("/rooms/%d/messages/%d", tk.Room, a.id(t)); a.header.Get("Location") != want {
		t.Errorf("at %s, want %s", a.header.Get("Location"), want)
	}
	d.must(201, "POST", at+"/comments", hers, `{"text":"Thank you. Which dock?"}`)
	d.must(201, "POST", at+"/notes", staff, `{"text":"She pays late"}`)
	got := d.said(at+"/comments", 3)
	if got[0].UserID != first.UserID || len(got[0].Flags) != 0 {
		t.Errorf("the requester's: %+v", got[0])
	}
	if strings.Join(got[1].Flags, "") != vezechat.FlagStaff || got[1].Reply == nil || got[1].Reply.Text != "Where is my ship?" {
		t.Errorf("the staff's: %+v", got[1])
	}
	if notes := d.said(at+"/notes", 1); notes[0].Text != "She pays late" || notes[0].RoomID != tk.NotesRoom {
		t.Errorf("notes %+v", notes)
	}
	page := d.must(200, "GET", fmt.Sprintf("%s/comments?before=%d&limit=1", at, got[2].ID), hers, "")
	if !strings.Contains(page.body, "At Nova.") || strings.Contains(page.body, "Which dock") || !strings.Contains(page.body, `"more":true`) {
		t.Errorf("a page: %s", page.body)
	}
	d.until("the answers are heard", func() bool {
		tk := ticketIn(t, d.do("GET", at, staff, ""))
		return tk.LastMsgSeq == got[2].ID && !tk.FirstReplyAt.IsZero() && tk.Status == vezechat.StatusOpen
	})
}

// Nobody of the staff answers where nobody would be told, but what was said before the end may be
// sent again.
func TestComments_ClosedForGood(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	at := d.ticket("Help", `,"body":"Where is my ship?"`)
	d.said(at+"/comments", 1)
	d.must(201, "POST", at+"/comments", staff, `{"text":"At Nova.","nonce":"n1"}`)
	d.said(at+"/comments", 2)
	d.must(200, "POST", at+"/transition", staff, `{"move":"spam"}`)
	a := d.must(409, "POST", at+"/comments", staff, `{"text":"lost"}`)
	if a.code(t) != vezechat.CodeConflict || !strings.Contains(a.body, "closed") {
		t.Errorf("an answer that nobody is told of: %s", a.body)
	}
	if a := d.must(201, "POST", at+"/comments", staff, `{"text":"At Nova.","nonce":"n1"}`); !strings.Contains(a.body, `"duplicate":true`) {
		t.Errorf("a repetition: %s", a.body)
	}
	d.must(201, "POST", at+"/notes", staff, `{"text":"it was spam"}`)
}

// Who has not read the last message sends nothing, and is given what they missed; who
// repeats what arrived already is not refused for it.
func TestComments_Collide(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	at := d.ticket("Help", `,"body":"Where is my ship?"`)
	first := d.said(at+"/comments", 1)[0]
	answer := fmt.Sprintf(`{"text":"At Nova.","last_msg_seq":%d,"nonce":"n1"}`, first.ID)
	sent := d.must(201, "POST", at+"/comments", staff, answer)
	d.said(at+"/comments", 2)
	again := d.must(201, "POST", at+"/comments", staff, answer)
	if again.id(t) != sent.id(t) || !strings.Contains(again.body, `"duplicate":true`) {
		t.Errorf("a repetition: %s", again.body)
	}
	for _, tt := range []struct {
		read string
		want int // messages missed
	}{{fmt.Sprint(first.ID), 1}, {"0", 2}} {
		a := d.do("POST", at+"/comments", d.admin(), `{"text":"Did you look at Nova?","last_msg_seq":`+tt.read+`,"nonce":"n1"}`)
		var p struct {
			Code     vezechat.Code
			Messages []vezechat.Message
		}
		a.json(t, &p)
		if a.status != 409 || p.Code != vezechat.CodeConflict || len(p.Messages) != tt.want {
			t.Fatalf("read up to %s: %d %s", tt.read, a.status, a.body)
		}
		if last := p.Messages[len(p.Messages)-1]; last.Text != "At Nova." || last.Handle != "@"+agent {
			t.Errorf("%+v", last)
		}
	}
	if got := d.said(at+"/comments", 2); len(got) != 2 {
		t.Errorf("%d messages: one that was refused was sent", len(got))
	}
	d.must(201, "POST", at+"/comments", d.admin(), fmt.Sprintf(`{"text":"And at Vega?","last_msg_seq":%d}`, sent.id(t)))
	d.must(400, "POST", at+"/comments", staff, `{"text":"x","last_msg_seq":0,"nonce":"a b"}`)
}

// A service that speaks for others comments as the requester.
func TestComments_ByAService(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	at := d.ticket("Help")
	service := d.as("relay", vezechat.ScopeChatActAs)
	d.must(403, "POST", at+"/comments", d.as(bob), `{"text":"I am ann","handle":"ann"}`)
	d.must(404, "POST", at+"/comments", service, `{"text":"nobody's business"}`)
	d.must(201, "POST", at+"/comments", service, `{"text":"By mail","handle":"ann"}`)
	if got := d.said(at+"/comments", 1)[0]; got.Handle != "@"+ann || len(got.Flags) != 0 {
		t.Errorf("%+v", got)
	}
}

// What a page's form sends is kept, and its browser led to where it stands.
func TestComments_ByForm(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	at := d.ticket("Help")
	h := with(d.as(ann), "Content-Type", formType, "Accept", "text/html")
	a := d.must(303, "POST", at+"/comments", h, form("text", "By form"))
	if to := a.header.Get("Location"); !strings.HasPrefix(to, at+"?min=") {
		t.Errorf("led to %s", to)
	}
	if got := d.said(at+"/comments", 1)[0]; got.Text != "By form" {
		t.Errorf("%+v", got)
	}
}
