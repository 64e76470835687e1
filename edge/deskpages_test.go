package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// page is what a browser is shown at an address.
func (d *deskWorld) page(path string, h http.Header) string {
	d.t.Helper()
	return d.must(200, "GET", path, with(h, "Accept", "text/html"), "").body
}

// sends is a form from a page, as a browser sends it; the answer leads to a page.
func (d *deskWorld) sends(path string, h http.Header, form string) answer {
	d.t.Helper()
	return d.must(303, "POST", path, with(h, "Accept", "text/html", "Content-Type", formType, "Referer", "http://example.com/tickets/1"), form)
}

// After a merge both ends name each other, who wrote the one that is closed learns where
// it goes on, and the staff's answers do not stay where nobody reads them.
func TestPages_Merged(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	kept := d.ticket("The ship")
	his := fmt.Sprintf("/tickets/%d", d.must(201, "POST", "/tickets", d.as(bob), `{"subject":"My ship, too"}`).id(t))
	d.must(200, "POST", his+"/merge", staff, `{"share":true,"into":1}`)
	for path, texts := range map[string][]string{
		kept: {`/tickets/2">#2 My ship, too</a> was merged into this`, `merged in: <a href="/tickets/2">#2</a>`},
		his:  {`It was merged into <a href="/tickets/1">#1</a>`},
	} {
		page := d.page(path, staff)
		for _, s := range texts {
			if !strings.Contains(page, s) {
				t.Errorf("the desk's page of %s has no %q", path, s)
			}
		}
	}
	if page := d.page(his, d.as(bob)); !strings.Contains(page, `<a href="/tickets/1">#1 The ship</a>`) {
		t.Errorf("bob is not told where it goes on: %s", page)
	}
	if page := d.page(kept, d.as(bob)); strings.Contains(page, `value="solve"`) || !strings.Contains(page, `id="composer"`) {
		t.Error("bob is offered what he may not do, or not what he may")
	}
	if page := d.page(kept, d.as(ann)); !strings.Contains(page, `value="solve"`) {
		t.Error("ann is not offered to solve what is hers")
	}
	a := d.must(409, "POST", his+"/comments", staff, `{"text":"lost"}`)
	if a.code(t) != vezechat.CodeConflict || !strings.Contains(a.body, "merged into ticket 1: answer there") {
		t.Errorf("an answer where nobody reads it: %s", a.body)
	}
	d.must(201, "POST", his+"/notes", staff, `{"text":"it was his second"}`)
	d.must(201, "POST", his+"/comments", d.as(bob), `{"text":"and my cargo"}`)
	d.until("what bob wrote goes on in the other one", func() bool {
		return strings.Contains(d.do("GET", kept+"/comments", staff, "").body, "and my cargo")
	})
	// All of them see where it goes on.
	third := d.must(201, "POST", "/tickets", d.as(eve), `{"subject":"Mine"}`).id(t)
	d.must(200, "POST", kept+"/merge", staff, fmt.Sprintf(`{"share":true,"into":%d}`, third))
	link := fmt.Sprintf(`href="/tickets/%d"`, third)
	if page := d.page(kept, d.as(ann)); !strings.Contains(page, link) {
		t.Error("ann is not told where it goes on")
	}
	if page := d.page(kept, d.as(bob)); !strings.Contains(page, link) {
		t.Error("bob is not told where it goes on")
	}
}

// Who asks again says what is new, and asks once however often they press; what was
// spam is not asked again.
func TestPages_AskAgain(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	at := d.ticket("Cold")
	d.must(200, "POST", at+"/transition", d.staff(), `{"move":"solve"}`)
	d.expire(1)
	h := d.as(ann)
	if page := d.page(at, h); !strings.Contains(page, at+`/followup`) {
		t.Fatal("what is closed cannot be asked again")
	}
	a := d.sends(at+"/followup", h, "body=+&nonce=one")
	if to := a.header.Get("Location"); to != "/tickets/1" {
		t.Errorf("nothing was said: to %s", to)
	}
	for range 3 {
		if to := d.sends(at+"/followup", h, "body=still+cold&nonce=two").header.Get("Location"); to != "/tickets/2" {
			t.Errorf("to %s", to)
		}
	}
	if n := len(ids(t, d.must(200, "GET", "/tickets", h, ""))); n != 2 {
		t.Errorf("%d tickets", n)
	}
	d.until("it begins with what was said", func() bool {
		return strings.Contains(d.do("GET", "/tickets/2/comments", h, "").body, "still cold")
	})
	spam := d.ticket("Buy gold")
	d.must(200, "POST", spam+"/transition", d.staff(), `{"move":"spam"}`)
	if page := d.page(spam, h); strings.Contains(page, "/followup") || strings.Contains(page, `id="composer"`) {
		t.Error("what is spam is asked again")
	}
}

// expire closes a ticket that is solved, as time does.
func (d *deskWorld) expire(id int) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.url)
	if err == nil {
		_, err = conn.Exec(d.t.Context(), "UPDATE tickets SET expire_at = now() WHERE id = $1", id)
		_ = conn.Close(d.t.Context())
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.until("the ticket is closed", func() bool {
		_, _, err := d.store.WakeTickets(d.t.Context(), 10)
		return err == nil && strings.Contains(d.do("GET", fmt.Sprintf("/tickets/%d", id), d.staff(), "").body, `"closed"`)
	})
}

// What was typed is there again when a form is refused: in the form, or to be copied when
// it is too long for that.
func TestPages_RefusedFormsLoseNothing(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	a := d.sends("/tickets", staff, "subject=Call&requester_id=%40nosuch&body=They+said+much&queue=")
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	page := d.page("/inbox", with(staff, "Cookie", cookie))
	for _, want := range []string{`id="new-ticket" open`, `value="Call"`, `value="@nosuch"`, ">They said much</textarea>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the form of a new ticket has no %q", want)
		}
	}
	long := strings.Repeat("zwölf Boxkämpfer ", 200)
	a = d.must(400, "POST", "/tickets", with(d.as(ann), "Accept", "text/html", "Content-Type", formType, "Referer", "http://example.com/tickets"), form("subject", "Long", "queue", "nowhere", "body", long))
	for _, want := range []string{long, "there is none of that name", `href="/tickets">Back to the form`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("a long text is refused without %q", want)
		}
	}
}

// Who rates sees that it has arrived, and so does the desk in the ticket.
func TestPages_Rating(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	at := d.ticket("Rated")
	d.must(200, "POST", at+"/transition", d.staff(), `{"move":"solve"}`)
	d.sends(at+"/rate", d.as(ann), "score=4&comment=Quick")
	if page := d.page(at, d.as(ann)); !strings.Contains(page, "You rated this 4 of 5") {
		t.Error("who rates does not see that it has arrived")
	}
	if page := d.page(at, d.staff()); !strings.Contains(page, "<b>4 of 5</b>") || !strings.Contains(page, "<br>Quick") {
		t.Error("the desk does not see the rating")
	}
}

// A time that is past is said to be, and stays in the form; so does a list of statuses.
// The button behind the list closes as spam, whatever the list says.
func TestPages_Forms(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	at := d.ticket("Later")
	staff := d.staff()
	for sent, want := range map[string]string{"2020-01-02T03:04": "that time is past", "2999-01-02T03:04": "at most 366 days ahead"} {
		a := d.sends(at+"/transition", staff, "move=hold&wake_at="+sent)
		cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
		page := d.page(at, with(staff, "Cookie", cookie))
		if !strings.Contains(page, want) || !strings.Contains(page, `value="`+sent+`"`) || !strings.Contains(page, `value="hold" selected`) {
			t.Errorf("%s: not told %q, or the form is empty", sent, want)
		}
	}
	if page := d.page("/inbox?status=new,open", staff); !strings.Contains(page, `<option value="new,open" selected>`) {
		t.Error("the form forgets what is asked for")
	}
	d.must(200, "POST", at+"/transition", staff, `{"move":"solve"}`)
	if a := d.must(409, "POST", at+"/transition", staff, `{"move":"solve"}`); !strings.Contains(a.body, "the ticket is solved already") {
		t.Errorf("solved twice: %s", a.body)
	}
	if page := d.page(at, staff); strings.Contains(page, "Why is it not assigned?") {
		t.Error("a solved ticket is asked why it is not assigned")
	}
	d.sends("/tickets/bulk", staff, `ids=1&actions=[{"do":"take"}]&actions=[{"do":"move","move":"spam"}]`)
	if tk := ticketIn(t, d.must(200, "GET", at, staff, "")); tk.CloseReason != vezechat.CloseSpam || tk.Assignee != 0 {
		t.Errorf("%+v", tk)
	}
}
