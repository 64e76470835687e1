package templates

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// A ticket's page is as high as the window: what screen readers alone are told in the
// column that scrolls was laid out below it, and the page scrolled into nothing.
func TestTicketPage_IsAsHighAsTheWindow(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(h *hub, w http.ResponseWriter, _ *http.Request) {
		if err := h.pages.Ticket(w, newSampleDesk("text").ticket); err != nil {
			h.t.Error(err)
		}
	})
	ctx := tab(t, h.Server, "/proxy/chat/tickets/88", size(1280, 900))
	if n := eval[int](t, ctx, `document.documentElement.scrollHeight`); n != 900 {
		t.Errorf("the page is %d px high in a window of 900", n)
	}
	if n := eval[int](t, ctx, `document.querySelector("#work").scrollHeight`); n <= 900 {
		t.Errorf("the column is %d px high: this test shows nothing", n)
	}
}

// What somebody goes on to say has its time beside it, and "team" once: neither lies over
// the text or beyond the edge.
func TestTicketPage_GoesOn(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(h *hub, w http.ResponseWriter, _ *http.Request) {
		d := newSampleDesk("text").ticket
		last := d.Public.Messages[len(d.Public.Messages)-1]
		last.ID++
		d.Public.Messages = append(d.Public.Messages, last)
		if err := h.pages.Ticket(w, d); err != nil {
			h.t.Error(err)
		}
	})
	ctx := tab(t, h.Server, "/proxy/chat/tickets/88", size(1280, 900))
	until(t, ctx, `/M/.test(document.querySelector("#m13 .at time").textContent)`) // 12 hours, as times.js writes them
	if n := eval[int](t, ctx, `document.querySelectorAll("#m12 .team, #m13 .team").length - [...document.querySelectorAll("#m12 .team, #m13 .team")].filter((x) => x.offsetParent).length`); n != 1 {
		t.Errorf("%d of two messages do not say team", n)
	}
	if over := eval[float64](t, ctx, `document.querySelector("#m13 .at time").getBoundingClientRect().right - document.querySelector("#m13 .text").getBoundingClientRect().left`); over > 0 {
		t.Errorf("the time lies %v px over the text", over)
	}
}

// A solved ticket is not put aside, and an offer is said to end, not to come.
func TestTicketPage_SaysWhatCanBe(t *testing.T) {
	t.Parallel()
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for status, aside := range map[vezechat.Status]bool{vezechat.StatusOpen: true, vezechat.StatusSolved: false} {
		d := newSampleDesk("text").ticket
		d.Ticket.Status = status
		var b strings.Builder
		if err := p.Ticket(&b, d); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "Put aside") != aside {
			t.Errorf("%s: put aside is not offered %t", status, aside)
		}
		if !strings.Contains(b.String(), "offer ends <time") {
			t.Errorf("%s: the offer does not say that it ends", status)
		}
	}
}

// ticketHTML is the page of a ticket as the desk sees it.
func ticketHTML(t *testing.T, change func(*TicketPage)) string {
	t.Helper()
	d := newSampleDesk("text").ticket
	change(&d)
	var b strings.Builder
	if err := newPages(t).Ticket(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// says fails when a page lacks one of the texts, or has one that begins with "!".
func says(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, s := range texts {
		text, not := strings.CutPrefix(s, "!")
		if strings.Contains(page, text) == not {
			t.Errorf("the page is not so: %s", s)
		}
	}
}

// Both ends of a merge name each other, and nobody answers where nobody reads.
func TestTicketPage_Merged(t *testing.T) {
	t.Parallel()
	says(t, ticketHTML(t, func(d *TicketPage) {
		d.History = append(d.History, vezechat.TicketChange{Version: 3, Kind: "merged_in", Handle: "@sam", At: sampleNow, New: map[string]vezechat.CustomJSON{"merged_from": []byte("916")}})
		d.Links = append(d.Links, vezechat.TicketLink{TicketID: 916, OtherID: d.Ticket.ID, Kind: vezechat.LinkMerged, Subject: "Gone", Status: vezechat.StatusClosed})
	}), `<a href="/proxy/chat/tickets/916">#916 Gone</a> was merged into this`, `!merged_into, from there`, `merged in: <a href="/proxy/chat/tickets/916">#916</a>`, `<b>Another one merged into this</b> by @sam`, `id="reply"`)
	says(t, ticketHTML(t, func(d *TicketPage) {
		d.Ticket.Status, d.Ticket.CloseReason, d.Ticket.MergedInto = vezechat.StatusClosed, vezechat.CloseMerged, 915
	}), `It was merged into <a href="/proxy/chat/tickets/915">#915</a>`, `!id="reply"`, `!/followup`, `id="note"`)
}

// What cannot be taken back is asked twice: spam is a step away, and not beside Solve.
// In a closed ticket nobody is told that anybody reads.
func TestTicketPage_SpamAndClosed(t *testing.T) {
	t.Parallel()
	open := ticketHTML(t, func(*TicketPage) {})
	acts, _, _ := strings.Cut(open[strings.Index(open, `<h2>Next</h2>`):], `</section>`)
	says(t, acts, `value="solve"`, `!value="spam"`)
	_, spam, _ := strings.Cut(open, `<summary>Spam</summary>`)
	says(t, spam, `value="spam"`)
	closed := func(why vezechat.CloseReason) string {
		return ticketHTML(t, func(d *TicketPage) {
			d.Ticket.Status, d.Ticket.CloseReason, d.Ticket.Guest = vezechat.StatusClosed, why, false
		})
	}
	says(t, closed(vezechat.CloseExpired), `would reach nobody`, `!they will see this`, `/followup`, `name="nonce" value="nf"`, `!<summary>Spam`)
	says(t, closed(vezechat.CloseSpam), `would reach nobody`, `!/followup`)
}

// A breach stays in sight when its clock is cancelled; the history says what clocks and
// offers did, in words.
func TestTicketPage_ClocksAndOffers(t *testing.T) {
	t.Parallel()
	at := sampleNow
	says(t, ticketHTML(t, func(d *TicketPage) {
		d.Clocks = []vezechat.Clock{
			{Metric: vezechat.MetricNextReply, State: vezechat.ClockCancelled, Target: time.Hour, BreachedAt: at}, {Metric: vezechat.MetricPickup, State: vezechat.ClockCancelled, Target: time.Hour},
		}
		d.History = []vezechat.TicketChange{
			{Version: 5, Kind: "clock", Why: "next_reply at 100 %", At: at, Old: map[string]vezechat.CustomJSON{"assignee_id": []byte("982")}, New: map[string]vezechat.CustomJSON{"assignee_id": []byte("null")}},
			{Version: 4, Kind: "clock", Why: "first_reply at 80 %", At: at.Add(-time.Minute)},
		}
		d.Agents[1].Handle = "@eve"
		d.Offered = []vezechat.Event{
			{Type: vezechat.EventOfferMade, OfferID: 5, UserID: 982, At: at.Add(-3 * time.Minute)}, {Type: vezechat.EventOfferExpired, OfferID: 5, UserID: 982, Reason: "expired", At: at.Add(-2 * time.Minute)},
		}
	}), `next reply cancelled, was late`, `!pickup cancelled`, `<b>A clock took its assignee away</b> by the hub: next reply is late`, `assignee: @eve → none`,
		`first reply has used 80 % of its time`, `<b>Offered to @eve</b> by the hub`, `<b>Offer to @eve expired</b>`)
}

// inboxHTML is the inbox.
func inboxHTML(t *testing.T, change func(*InboxPage)) string {
	t.Helper()
	d := newSampleDesk("text").inbox
	change(&d)
	var b strings.Builder
	if err := newPages(t).Inbox(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What is due next is named first, and what is not due any more last.
func TestTicketPage_DueNextFirst(t *testing.T) {
	t.Parallel()
	html := ticketHTML(t, func(d *TicketPage) {
		d.Clocks = []vezechat.Clock{
			{Metric: vezechat.MetricPickup, State: vezechat.ClockMet, Target: time.Minute},
			{Metric: vezechat.MetricResolution, State: vezechat.ClockRunning, Target: time.Hour, DueAt: sampleNow.Add(time.Hour)},
			{Metric: vezechat.MetricNextReply, State: vezechat.ClockRunning, Target: time.Hour, DueAt: sampleNow.Add(time.Minute)},
		}
	})
	_, clocks, _ := strings.Cut(html, "<h2>Clocks</h2>")
	at := []int{strings.Index(clocks, "next reply"), strings.Index(clocks, "resolution"), strings.Index(clocks, "pickup met")}
	if at[0] < 0 || !slices.IsSorted(at) {
		t.Errorf("next reply, resolution and pickup are at %v", at)
	}
}

// Who let offers pass is told so, and how they are asked again.
func TestInbox_NotRespondingSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for status, told := range map[vezechat.AgentStatus]bool{vezechat.AgentNotResponding: true, vezechat.AgentOnline: false, vezechat.AgentOffline: false} {
		want := "!let two offers pass"
		if told {
			want = want[1:]
		}
		says(t, inboxHTML(t, func(d *InboxPage) {
			self := *d.Self
			self.Status = status
			d.Self = &self
		}), want)
	}
}

// The desk at a glance begins with those who take tickets.
func TestInbox_OnlineFirst(t *testing.T) {
	t.Parallel()
	says(t, inboxHTML(t, func(d *InboxPage) {
		d.Board.Agents = map[vezechat.AgentStatus]int{vezechat.AgentNotResponding: 1, vezechat.AgentOffline: 3, vezechat.AgentOnline: 2, vezechat.AgentWrapUp: 1}
	}), `2 online · 1 finishing · 1 not responding · 3 offline · `)
}

// A date that was refused stays in its field.
func TestTicketPage_KeepsTheDate(t *testing.T) {
	t.Parallel()
	says(t, ticketHTML(t, func(d *TicketPage) { d.AsideAt, d.AsideMove = sampleNow, "hold" }),
		`name="wake_at" value="`+sampleNow.UTC().Format("2006-01-02T15:04")+`" data-utc=`, `<option value="hold" selected>`)
	says(t, ticketHTML(t, func(d *TicketPage) { d.Watchers = nil }), `Nobody watches.`)
}

// The form shows what the address asks for, also when it could not say it itself: else
// the next search would lose it.
func TestInbox_FilterIsKept(t *testing.T) {
	t.Parallel()
	d := newSampleDesk("text").inbox
	d.Status, d.Filter.Status = "new,open", []vezechat.Status{vezechat.StatusNew, vezechat.StatusOpen}
	d.Asked = url.Values{"status": {"new,open"}, "priority": {"high", "urgent"}, "requester": {"@ann"}, "assignee": {"@eve"}}
	d.Filter.Assignee = 982
	d.Agents[0].Status, d.Self = vezechat.AgentWrapUp, &d.Agents[0]
	d.Self.Until = sampleNow.Add(time.Minute)
	var b strings.Builder
	if err := newPages(t).Inbox(&b, d); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	says(t, page, `<option value="new,open" selected>New, Open</option>`, `<option value="high,urgent" selected>`, `<input type="hidden" name="requester" value="@ann">`, `<option value="982" selected>`,
		`<b>finishing</b> until <time`, `3 waiting`)
	rows := strings.Index(page, `id="rows"`)
	for _, part := range []string{`id="board"`, `id="new-ticket"`} {
		if i := strings.Index(page, part); i < 0 || i > rows {
			t.Errorf("%s is behind the tickets", part)
		}
	}
	bulk, _, _ := strings.Cut(page[strings.Index(page, `id="bulk"`):], `</fieldset>`)
	if first, last := strings.Index(bulk, `<button>Do it`), strings.Index(bulk, `"spam"`); first < 0 || last < first || !strings.Contains(bulk[first:last], "<details") {
		t.Error("spam is one press away, or what Enter does")
	}
}

// requestHTML is the page of a ticket as its requester sees it, or somebody else of the
// conversation.
func requestHTML(t *testing.T, change func(*RequestPage)) string {
	t.Helper()
	d := newSampleDesk("text").request
	d.Me.UserID, d.Ticket.Requester = 985, 985
	change(&d)
	var b strings.Builder
	if err := newPages(t).Request(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A row of the inbox says who has the ticket before them.
func TestInbox_WhoIsThere(t *testing.T) {
	t.Parallel()
	d := newSampleDesk("text").inbox
	d.Tickets[0].Attending = []vezechat.Attendance{{UserID: 982, Handle: "@eve", Mode: "replying"}, {UserID: 983, Handle: "@sam", Mode: "viewing"}}
	var b strings.Builder
	if err := newPages(t).Inbox(&b, d); err != nil {
		t.Fatal(err)
	}
	says(t, b.String(), `@eve is replying`, `@sam is looking`)
}

// Who has rated a ticket reads how, and may change it while it is not closed.
func TestRequest_Rating(t *testing.T) {
	t.Parallel()
	rated := func(s vezechat.Status) string {
		return requestHTML(t, func(d *RequestPage) {
			d.Ticket.Status, d.Ticket.CloseReason, d.Ticket.Rating = s, vezechat.CloseExpired, &vezechat.Rating{Score: 4, Comment: "Quick <b>!"}
		})
	}
	says(t, rated(vezechat.StatusSolved), `You rated this 4 of 5: “Quick &lt;b&gt;!”.`, `You may change that`, `value="4" required checked`, `value="Quick &lt;b&gt;!"`)
	says(t, rated(vezechat.StatusClosed), `You rated this 4 of 5`, `!You may change that`, `!class="rate"`)
}

// A requester is offered what they may do, and told where it goes on.
func TestRequest_WhatIsOffered(t *testing.T) {
	t.Parallel()
	closed := func(why vezechat.CloseReason) func(*RequestPage) {
		return func(d *RequestPage) { d.Ticket.Status, d.Ticket.CloseReason = vezechat.StatusClosed, why }
	}
	says(t, requestHTML(t, func(*RequestPage) {}), `value="solve"`, `!/followup`, `Look whether there is an answer`)
	says(t, requestHTML(t, func(d *RequestPage) { d.Me.UserID = 7 }), `!value="solve"`, `id="composer"`)
	says(t, requestHTML(t, func(d *RequestPage) { d.Me.UserID, d.Ticket.Status = 7, vezechat.StatusSolved }), `!value="reopen"`, `!class="rate"`)
	says(t, requestHTML(t, closed(vezechat.CloseExpired)), `/followup`, `name="body" rows="3" required`, `name="nonce" value="nf"`, `it begins a new request`, `!value="solve"`)
	says(t, requestHTML(t, closed("")), `!/followup`, `!it begins a new request`)
	says(t, requestHTML(t, func(d *RequestPage) { d.Me.UserID = 7; closed(vezechat.CloseExpired)(d) }), `!/followup`)
	says(t, requestHTML(t, func(d *RequestPage) {
		d.Me.UserID, d.Ticket.Status, d.Ticket.SolvedBy, d.Ticket.RequesterHandle = 7, vezechat.StatusSolved, 985, "@ann"
	}), `@ann has marked this as solved.`)
	merged := func(d *RequestPage) { closed(vezechat.CloseMerged)(d); d.Ticket.MergedInto = 915 }
	says(t, requestHTML(t, merged), `was merged into another one`, `!/tickets/915`, `!/followup`)
	says(t, requestHTML(t, func(d *RequestPage) { merged(d); d.Merged = &vezechat.Ticket{ID: 915, Subject: "The ship"} }),
		`<a href="/proxy/chat/tickets/915">#915 The ship</a>`, `it goes on in #915`)
	guest := requestHTML(t, func(d *RequestPage) { d.Me.Guest = vezechat.Guest{Ticket: 88, Room: 40} })
	leave, _, _ := strings.Cut(guest[strings.Index(guest, `<details class="leave">`):], `</details>`)
	says(t, leave, `There is no other way back`, `/support/leave`)
	if strings.Count(guest, "/support/leave") != 1 {
		t.Error("a guest loses their key by one press")
	}
}
