package templates

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// sampleDesk are the pages of tickets, with s for every text that people write.
type sampleDesk struct {
	inbox   InboxPage
	ticket  TicketPage
	request RequestPage
	guest   RequestPage
	tickets TicketsPage
	support SupportPage
	keys    KeysPage
	hooks   HooksPage
	emails  EmailsPage
	unsub   UnsubscribePage
	queue   QueuePage
	audit   AuditPage
	rules   RulesPage
	held    HeldPage
}

func newSampleDesk(s string) sampleDesk {
	page := samplePage()
	page.Me.Handle, page.CSRF, page.Notice, page.Done = s, s, s, s
	page.Me.Scopes = append(page.Me.Scopes, vezechat.ScopeTicketManage)
	asker := page
	asker.Me.Scopes = vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}
	queues := []vezechat.Queue{{ID: 1, Name: s}, {ID: 2, Name: s}}
	agents := []vezechat.Agent{{ID: 981, Handle: s, Status: vezechat.AgentOnline, Capacity: 100, Used: 30}, {ID: 982, Handle: s, Status: vezechat.AgentAway, Capacity: 100}}
	at := sampleNow.Add(-20 * time.Minute)
	t := vezechat.Ticket{
		ID: 88, Subject: s, Channel: vezechat.ChannelChat, Requester: 985, RequesterHandle: s, Queue: 1, Status: vezechat.StatusOpen, Priority: vezechat.PriorityHigh,
		Room: 40, NotesRoom: 41, Tags: []string{s, s + "2"}, Live: true, Version: 4, CreatedAt: at, UpdatedAt: at, WaitingSince: at, LastMsgAt: at,
		Guest: true, GuestName: s, GuestEmail: s, Custom: vezechat.CustomJSON(`{"ship":` + string(vezechat.AppendJSONString(nil, s)) + `}`),
	}
	other := t
	other.ID, other.Guest, other.Status, other.AssigneeHandle, other.Assignee = 87, false, vezechat.StatusPending, s, 982
	offers := []vezechat.Offer{{ID: 5, TicketID: 88, Subject: s, Requester: s, Cost: 25, ExpiresAt: sampleNow.Add(25 * time.Second)}}
	clocks := []vezechat.Clock{
		{Metric: vezechat.MetricFirstReply, State: vezechat.ClockRunning, Target: 30 * time.Minute, DueAt: sampleNow.Add(4 * time.Minute)},
		{Metric: vezechat.MetricResolution, State: vezechat.ClockRunning, Target: time.Hour, DueAt: sampleNow.Add(-2 * time.Minute)},
		{Metric: vezechat.MetricPickup, State: vezechat.ClockMet, Target: time.Minute},
	}
	said := Thread{Room: 40, Head: 12, More: true, Messages: []vezechat.Message{
		{RoomID: 40, ID: 10, UserID: 985, Handle: s, Text: s, At: at}, {RoomID: 40, ID: 12, UserID: 982, Handle: s, Text: s, At: at.Add(time.Minute), Flags: []string{vezechat.FlagStaff}},
	}}
	noted := Thread{Room: 41, Head: 11, Messages: []vezechat.Message{{RoomID: 41, ID: 11, UserID: 982, Handle: s, Text: s, At: at, Flags: []string{vezechat.FlagStaff}}}}
	board := vezechat.Board{
		Queues: []vezechat.QueueBoard{{Queue: 1, Name: s, Waiting: 3, Live: 1, Oldest: at, Offered: 1, Assigned: 4, Missed: 2, Soon: 90, Late: 400, Met: 9, Breached: 1}},
		Agents: map[vezechat.AgentStatus]int{vezechat.AgentOnline: 1, vezechat.AgentAway: 1}, Capacity: 200, Used: 30, At: sampleNow,
	}
	why := vezechat.Why{State: vezechat.ItemQueued, Queue: 1, Verdicts: []vezechat.Verdict{
		{Agent: 981, Reason: "capacity", Have: 5, Want: 25}, {Agent: 982, Reason: "not_online", Status: vezechat.AgentAway}, {Agent: 982, Reason: "skill", Skill: 3, Have: 1, Want: 4},
	}}
	raw := json.RawMessage(vezechat.AppendJSONString(nil, s))
	d := sampleDesk{
		inbox: InboxPage{
			Page: page, Views: []vezechat.TicketView{{ID: 3, Name: s, Count: 4}, {ID: 4, Name: s, Count: 1000}}, View: 3, Asked: url.Values{"q": {s}, "status": {"open"}},
			Filter: vezechat.TicketFilter{Query: s, Tags: []string{s}}, Status: "open", Tickets: []vezechat.Ticket{t, other}, More: true,
			Clocks: map[vezechat.TicketID]vezechat.Clock{88: clocks[0], 87: clocks[1]}, Queues: queues, Agents: agents, Self: &agents[0], Offers: offers, Board: board,
		},
		ticket: TicketPage{
			Page: page, Ticket: t, Epoch: s, Public: said, Notes: noted, Draft: s, NoteDraft: s, Missed: 1, Read: 10, Nonce: "n", Self: &agents[0], Offers: offers,
			Attending: []vezechat.Attendance{{UserID: 981, Handle: s, Mode: "viewing"}, {UserID: 982, Handle: s, Mode: "replying"}}, Queues: queues, Agents: agents,
			Skills: []vezechat.Skill{{ID: 3, Name: s}}, Macros: []vezechat.Macro{{ID: 1, Name: s, Text: s, Actions: []vezechat.TicketAction{{Do: vezechat.DoTake}}}},
			Fields: []vezechat.TicketField{{Key: "ship", Name: s, Type: vezechat.FieldText, Required: true}, {Key: "class", Name: s, Type: vezechat.FieldChoice, Options: []string{s}}},
			Clocks: clocks, Links: []vezechat.TicketLink{{TicketID: 88, OtherID: 90, Kind: vezechat.LinkBlocks, Subject: s, Status: vezechat.StatusNew}},
			Watchers: []vezechat.User{{ID: 981, Handle: s}}, Why: &why,
			History: []vezechat.TicketChange{
				{Version: 1, Kind: "created", Handle: s, At: at, New: map[string]vezechat.CustomJSON{"queue_id": json.RawMessage("1")}},
				{Version: 2, Kind: "updated", Handle: s, Why: s, At: at, Old: map[string]vezechat.CustomJSON{"subject": raw}, New: map[string]vezechat.CustomJSON{"subject": raw, "assignee_id": json.RawMessage("982")}},
			},
		},
		request: RequestPage{Page: asker, Ticket: other.ForRequester(), Epoch: s, Thread: said, Nonce: "n", Draft: s},
		tickets: TicketsPage{Page: asker, Tickets: []vezechat.Ticket{t.ForRequester(), other.ForRequester()}, More: true, Nonce: "n", Subject: s, Body: s},
		support: SupportPage{Page: asker, Nonce: "n", Subject: s, Text: s, Name: s, Email: s},
	}
	key := vezechat.APIKey{ID: 7, Name: s, Hint: s, Handle: s, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.Scope(s)}, MadeBy: s, MadeAt: at, ExpiresAt: &at, LastUsed: &at}
	gone := key
	gone.RevokedAt = &at
	d.hooks = HooksPage{
		Page: page, Room: &vezechat.Room{ID: 17, Name: s}, Types: vezechat.HookEvents(), Nonce: "n", MadeName: s, Address: s,
		Incoming: []vezechat.IncomingHook{{ID: 1, Name: s, Hint: s, MadeBy: s}}, Outgoing: []vezechat.OutgoingHook{{ID: 1, Name: s, URL: s, OffReason: s, MadeBy: s, Events: vezechat.HookEvents()[:1]}},
	}
	d.keys = KeysPage{Page: page, Keys: []vezechat.APIKey{key, gone}, Made: &key, Secret: s, Nonce: "n", Name: s, Handle: s}
	d.keys.Me.Scopes = vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatAdmin}
	d.keys.Scopes = d.keys.Me.MayGive()
	d.emails = EmailsPage{Page: d.keys.Page, State: vezechat.EmailDead, Before: 3, Emails: []vezechat.Email{
		{ID: 7, Kind: vezechat.EmailTicket, State: vezechat.EmailDead, UserID: 985, Handle: s, TicketID: 88, Updates: 2, Tries: 12, Why: s, MadeAt: at, DoneAt: at},
		{ID: 6, Kind: vezechat.EmailDM, State: vezechat.EmailReady, UserID: 985, Handle: s, TicketID: 88, Updates: 1, Tries: 1, MadeAt: at, DueAt: at},
	}}
	d.unsub = UnsubscribePage{Page: asker, Kind: vezechat.EmailDM, Action: page.Base + "/email/unsubscribe?user=1&kind=dm&proof=p"}
	d.moderation(page, s)
	d.guest = d.request
	d.guest.Me.Guest = vezechat.Guest{Ticket: 88, Room: 40}
	d.guest.Ticket = t.ForRequester()
	d.guest.Ticket.Assignee = 0
	d.guest.Place = vezechat.QueuePlace{State: vezechat.ItemQueued, Live: false}
	d.support.Me = vezechat.Caller{}
	return d
}

// moderation are the pages of moderators.
func (d *sampleDesk) moderation(page Page, s string) {
	at := sampleNow
	page.Me.Scopes = vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeChatAdmin}
	slow, locked := 10, true
	mute := vezechat.AuditEntry{ID: 5, At: at, ActorID: 9, Actor: s, Action: vezechat.ModMute, RoomID: 17, Room: s, UserID: 8, Handle: s, Until: &at, Reason: s}
	lines := []vezechat.AuditEntry{
		mute, {ID: 4, At: at, Guard: s, Action: vezechat.ModHide, RoomID: 17, MessageID: 442, UserID: 8, Handle: s},
		{ID: 3, At: at, Actor: s, Action: vezechat.ModSlowMode, RoomID: 17, Room: s, After: vezechat.ModState{SlowMode: &slow, Locked: &locked}},
		{ID: 2, At: at, Actor: s, Action: vezechat.ModRules, After: vezechat.ModState{Rules: 3}},
	}
	said := []vezechat.CaseMessage{{ID: 440, UserID: 7, Handle: s, Text: s, At: at}, {ID: 441, UserID: 7, Handle: s, At: at}}
	c := vezechat.ModCase{
		ID: 3, Kind: vezechat.CaseReport, State: vezechat.CaseClaimed, Claimer: s, OpenedAt: at, RoomID: 17, Room: s, RoomKind: vezechat.KindGuild, MessageID: 442,
		UserID: 8, Handle: s, Text: s, Message: vezechat.MessageVisible, Said: &at, Count: 21, Reports: []vezechat.Complaint{{Handle: s, Reason: s, At: at}, {Handle: s, At: at}},
		Findings: []vezechat.Finding{{Guard: "words", Label: s, Reason: s}}, Before: said, After: said, Prior: lines,
	}
	held, hidden, done := c, c, c
	held.ID, hidden.ID, done.ID = 4, 5, 6
	held.Kind, held.State, held.Claimer, held.MessageID, held.HeldID, held.Message, held.Reports, held.Count = vezechat.CaseHeld, vezechat.CaseOpen, "", 0, 2, vezechat.HeldWaiting, nil, 0
	hidden.Kind, hidden.Message, hidden.Appeal, hidden.RoomKind = vezechat.CaseAppeal, vezechat.MessageHidden, s, vezechat.KindDM
	done.State, done.Outcome, done.Text, done.Message = vezechat.CaseDone, vezechat.ModDelete, "", vezechat.MessageDeleted
	d.queue = QueuePage{Page: page, Queue: vezechat.CasePage{Cases: []vezechat.ModCase{c, held, hidden, done}, Open: 1, Claimed: 2, Oldest: &at}, Kind: vezechat.CaseReport, Next: "after=3"}
	d.audit = AuditPage{Page: page, Entries: lines, Next: "before=2", Asked: map[string]string{"user": s, "actor": s, "action": "mute", "room": "17"}}
	d.rules = RulesPage{Page: page, Version: 3, Doc: s, May: true}
	d.held = HeldPage{Page: page, Held: []vezechat.Held{
		{ID: 2, RoomID: 17, Text: s, At: at, State: vezechat.HeldRejected, Reason: s}, {RoomID: 17, MessageID: 442, Text: s, At: at, State: "hidden"},
		{ID: 1, RoomID: 17, Text: s, At: at, State: vezechat.HeldApproved}, {ID: 3, RoomID: 17, Text: s, At: at, State: vezechat.HeldWaiting, Appealed: true},
	}}
}

// render are the pages with s for every text.
func (d sampleDesk) render(p *Pages) map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{
		"inbox":   func(w io.Writer) error { return p.Inbox(w, d.inbox) },
		"ticket":  func(w io.Writer) error { return p.Ticket(w, d.ticket) },
		"request": func(w io.Writer) error { return p.Request(w, d.request) },
		"guest":   func(w io.Writer) error { return p.Request(w, d.guest) },
		"tickets": func(w io.Writer) error { return p.Tickets(w, d.tickets) },
		"support": func(w io.Writer) error { return p.Support(w, d.support) },
		"keys":    func(w io.Writer) error { return p.Keys(w, d.keys) },
		"hooks":   func(w io.Writer) error { return p.Hooks(w, d.hooks) },
		"emails":  func(w io.Writer) error { return p.Emails(w, d.emails) },

		"unsubscribe": func(w io.Writer) error { return p.Unsubscribe(w, d.unsub) },
		"queue":       func(w io.Writer) error { return p.Queue(w, d.queue) },
		"audit":       func(w io.Writer) error { return p.Audit(w, d.audit) },
		"rules":       func(w io.Writer) error { return p.Rules(w, d.rules) },
		"held":        func(w io.Writer) error { return p.Held(w, d.held) },
	}
}

// What a requester is told of their wait is true: nobody is promised anybody.
func TestRequest_StateIsHonest(t *testing.T) {
	t.Parallel()
	live := vezechat.Ticket{ID: 1, Subject: "x", Channel: vezechat.ChannelChat, Status: vezechat.StatusNew, Live: true, WaitingSince: sampleNow}
	taken, async := live, live
	taken.Assignee, taken.AssigneeHandle = 9, "@eve"
	async.Live = false
	web := async
	web.Channel = vezechat.ChannelWeb
	solved, closed := live, live
	answered := async
	answered.FirstReplyAt, answered.WaitingSince = sampleNow, time.Time{}
	solved.Status, closed.Status = vezechat.StatusSolved, vezechat.StatusClosed
	byThem := solved
	byThem.Requester, byThem.SolvedBy = 7, 7
	queued := vezechat.QueuePlace{State: vezechat.ItemQueued, Live: true}
	for name, tc := range map[string]struct {
		ticket vezechat.Ticket
		place  vezechat.QueuePlace
		want   string
		kind   string
	}{
		"next, nothing known":            {live, withPlace(queued, 1, 0, 0), "You are next. We cannot say yet how long it takes.", "waiting"},
		"third, with a range":            {live, withPlace(queued, 3, 100, 400), "2 conversations are before yours. Most people wait 2 to 7 minutes.", "waiting"},
		"second, very soon":              {live, withPlace(queued, 2, 10, 50), "One conversation is before yours. Most people wait about a minute.", "waiting"},
		"somebody is asked":              {live, vezechat.QueuePlace{State: vezechat.ItemOffered, Live: true}, "Somebody is being asked to take your chat. Stay on this page.", "waiting"},
		"nobody is there":                {async, vezechat.QueuePlace{State: vezechat.ItemQueued, Position: 1}, "Nobody is at the desk right now. Your message is kept, and is answered when somebody is back. You need not wait here: come back to this page later.", "later empty"},
		"answered, by nobody who has it": {answered, vezechat.QueuePlace{State: vezechat.ItemQueued, Position: 1}, "The team has answered. Write here when there is more to say.", "answered"},
		"nobody, not yet deferred":       {live, vezechat.QueuePlace{State: vezechat.ItemQueued, Live: true, Position: 1, Nobody: true}, "Nobody is at the desk right now. Your message is kept, and is answered when somebody is back. You need not wait here: come back to this page later.", "later empty"},
		"in no queue":                    {live, vezechat.QueuePlace{State: vezechat.ItemNone, Live: true}, "Your message has arrived. It is answered when there is time. You need not wait here.", "later"},
		"no chat":                        {web, vezechat.QueuePlace{State: vezechat.ItemQueued, Position: 2}, "Your message has arrived. It is answered when there is time. You need not wait here.", "later"},
		"somebody has it":                {taken, vezechat.QueuePlace{State: vezechat.ItemAssigned, Live: true}, "@eve is with you.", "answered"},
		"solved":                         {solved, vezechat.QueuePlace{}, "The team has marked this as solved. Write again if it is not.", "done"},
		"solved by themselves":           {byThem, vezechat.QueuePlace{}, "You marked this as solved. Write again if it is not.", "done"},
		"closed":                         {closed, vezechat.QueuePlace{}, "This conversation is closed. You can read it here.", "done"},
	} {
		got := RequestPage{Page: Page{Me: vezechat.Caller{UserID: tc.ticket.Requester}}, Ticket: tc.ticket, Place: tc.place}.state()
		if text := strings.TrimSpace(got.Head + " " + got.Text); text != tc.want || got.Kind != tc.kind {
			t.Errorf("%s: %s: %q, want %s: %q", name, got.Kind, text, tc.kind, tc.want)
		}
	}
}

func withPlace(p vezechat.QueuePlace, position, soon, late int) vezechat.QueuePlace {
	p.Position, p.Soon, p.Late = position, soon, late
	return p
}

// The requester's page has nothing of the staff's.
func TestRequest_NothingOfTheStaffs(t *testing.T) {
	t.Parallel()
	d := newSampleDesk("visible")
	d.request.Ticket.Tags, d.request.Ticket.NotesRoom = nil, 0
	var b bytes.Buffer
	if err := newPages(t).Request(&b, d.request); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"/notes", "Staff notes", "/assign", "History", "macro", `"notes"`, `"desk"`} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("the page has %q", secret)
		}
	}
}

func TestDue_Kinds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		clock vezechat.Clock
		kind  string
		text  string
	}{
		"runs":       {vezechat.Clock{State: vezechat.ClockRunning, Target: time.Hour, DueAt: sampleNow.Add(50 * time.Minute)}, "run", "in 50 min"},
		"urgent":     {vezechat.Clock{State: vezechat.ClockRunning, Target: time.Hour, DueAt: sampleNow.Add(12 * time.Minute)}, "warn", "in 12 min"},
		"late":       {vezechat.Clock{State: vezechat.ClockRunning, Target: time.Hour, DueAt: sampleNow.Add(-90 * time.Minute)}, "late", "1 h 30 min late"},
		"paused":     {vezechat.Clock{State: vezechat.ClockPaused, Target: time.Hour}, "paused", "paused"},
		"no target":  {vezechat.Clock{State: vezechat.ClockRunning}, "paused", "no target"},
		"met":        {vezechat.Clock{State: vezechat.ClockMet, Target: time.Hour}, "met", "met"},
		"met late":   {vezechat.Clock{State: vezechat.ClockMet, Target: time.Hour, BreachedAt: sampleNow}, "late", "met too late"},
		"in seconds": {vezechat.Clock{State: vezechat.ClockRunning, Target: time.Minute, DueAt: sampleNow.Add(59 * time.Second)}, "run", "in 59 s"},
		"in days":    {vezechat.Clock{State: vezechat.ClockRunning, Target: time.Hour, DueAt: sampleNow.Add(51 * time.Hour)}, "run", "in 2 d 3 h"},
	} {
		if d := dueOf(tc.clock, sampleNow); d.Kind != tc.kind || d.Text != tc.text {
			t.Errorf("%s: %+v, want %s %q", name, d, tc.kind, tc.text)
		}
	}
}
