package templates

import (
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// InboxPage is what an agent works from.
type InboxPage struct {
	Page
	Views   []vezechat.TicketView
	View    vezechat.ViewID // the one that is shown; 0: none
	Filter  vezechat.TicketFilter
	Order   vezechat.TicketOrder
	Status  string // as it was asked for: statuses with commas, or ""
	Asked   url.Values
	Tickets []vezechat.Ticket
	More    bool
	Clocks  map[vezechat.TicketID]vezechat.Clock // the one that ends next, as far as it is known
	Queues  []vezechat.Queue
	Agents  []vezechat.Agent
	Self    *vezechat.Agent // nil: the viewer is no agent, and is offered nothing
	Offers  []vezechat.Offer
	Board   vezechat.Board
	Typed   TypedTicket // into the form that failed
}

// TypedTicket is what was typed to make a ticket for somebody.
type TypedTicket struct{ Subject, Requester, Body, Queue string }

// Rail is what a page of the desk says of the viewer themselves.
type Rail struct {
	Page
	Self   *vezechat.Agent
	Offers []OfferView
}

// OfferView is an offer with the time that is left of it.
type OfferView struct {
	vezechat.Offer
	Left Due
}

// Row is a ticket of a list.
type Row struct {
	vezechat.Ticket
	Queue   string
	Due     Due
	Waiting *sinceView // how long its requester has waited for an answer, nil: they do not
}

// Due is a time that something is promised by.
type Due struct {
	What string    // "first reply"
	At   time.Time // zero: there is none
	Warn time.Time // from when on it looks urgent
	Kind string    // run, warn, late, paused, met
	Text string    // "in 12 min"
}

type inboxView struct {
	InboxPage
	Rail    Rail
	Rows    []Row
	Boards  []boardRow
	People  []string // "2 online": agents by state
	Free    int
	Waiting int // in all queues
	Besides []askedView
	Data    pageData
}

// askedView is what the address asks for and the form has no field for.
type askedView struct{ Name, Value string }

type boardRow struct {
	vezechat.QueueBoard
	Oldest *sinceView // of those who wait
	Wait   string     // for who comes now
	Kept   string     // share of clocks that were met, "": none ended
}

// Inbox writes the desk's inbox.
func (p *Pages) Inbox(w io.Writer, d InboxPage) error {
	now := p.now()
	v := inboxView{InboxPage: d, Rail: railOf(d.Page, d.Self, d.Offers, now), Data: pageData{Base: d.Base, Me: int64(d.Me.UserID), Handle: d.Me.Handle, Duty: onDuty(d.Self)}}
	for _, t := range d.Tickets {
		r := Row{Ticket: t, Queue: queueName(d.Queues, t.Queue), Waiting: waited(t.WaitingSince, now)}
		if c, ok := d.Clocks[t.ID]; ok {
			r.Due = dueOf(c, now)
		}
		v.Rows = append(v.Rows, r)
	}
	for _, b := range d.Board.Queues {
		r := boardRow{QueueBoard: b, Oldest: waited(b.Oldest, now), Wait: waitRange(b.Soon, b.Late)}
		if n := b.Met + b.Breached; n > 0 {
			r.Kept = strconv.Itoa(100*b.Met/n) + " %"
		}
		v.Boards = append(v.Boards, r)
		v.Waiting += b.Waiting
	}
	for _, name := range [...]string{"requester", "channel", "watching"} { // else the next search would lose them
		if s := d.Asked.Get(name); s != "" {
			v.Besides = append(v.Besides, askedView{name, s})
		}
	}
	v.Free = max(0, d.Board.Capacity-d.Board.Used)
	v.People = peopleOf(d.Board.Agents)
	return p.write(w, "inbox", v)
}

func railOf(page Page, self *vezechat.Agent, offers []vezechat.Offer, now time.Time) Rail {
	r := Rail{Page: page, Self: self}
	for _, o := range offers {
		r.Offers = append(r.Offers, OfferView{o, Due{What: "offer ends", At: o.ExpiresAt, Warn: o.ExpiresAt.Add(-10 * time.Second), Kind: "run", Text: dueIn(o.ExpiresAt, now)}})
	}
	return r
}

func onDuty(a *vezechat.Agent) bool { return a != nil && a.Status != vezechat.AgentOffline }

// Title is what the list shows.
func (d InboxPage) Title() string {
	for _, v := range d.Views {
		if v.ID == d.View {
			return v.Name
		}
	}
	if len(d.Asked) > 0 {
		return "Found"
	}
	return "All tickets"
}

// NextPage is the address of the tickets behind these.
func (d InboxPage) NextPage() string {
	q := url.Values{}
	for k, vs := range d.Asked {
		q[k] = vs
	}
	if n := len(d.Tickets); n > 0 {
		q.Set("after", d.Tickets[n-1].ID.String())
	}
	return d.Base + "/inbox?" + q.Encode()
}

// FilterJSON is the filter as a view keeps it.
func (d InboxPage) FilterJSON() (string, error) {
	b, err := json.Marshal(d.Filter)
	return string(b), err
}

// Tag is the tag that is asked for.
func (d InboxPage) Tag() string { return strings.Join(d.Filter.Tags, ", ") }

// SeveralStatuses are the statuses that are asked for in words, "" unless they are
// more than one.
func (d InboxPage) SeveralStatuses() string {
	if len(d.Filter.Status) < 2 {
		return ""
	}
	var names []string
	for _, s := range d.Filter.Status {
		names = append(names, statusName(s))
	}
	return strings.Join(names, ", ")
}

// SeveralPriorities are likewise the priorities.
func (d InboxPage) SeveralPriorities() string {
	if p := strings.Join(d.Asked["priority"], ","); strings.Contains(p, ",") {
		return p
	}
	return ""
}

// Assignee is who is asked for, as the form says it.
func (d InboxPage) Assignee() string { return d.Asked.Get("assignee") }

// TicketPage is a ticket as the desk works on it.
type TicketPage struct {
	Page
	Ticket    vezechat.Ticket
	Epoch     string
	Public    Thread
	Notes     Thread
	ShowNotes bool
	Draft     string             // what was typed into the reply that was not sent
	NoteDraft string             // likewise
	Body      string             // what was typed into the form of a ticket that follows
	AsideMove string             // what was chosen in the form that puts aside
	AsideAt   time.Time          // and until when
	Missed    int                // messages that came while the draft was written
	Read      vezechat.MessageID // the last message before those
	Nonce     string
	MayReply  string // why not; "": they may
	Self      *vezechat.Agent
	Offers    []vezechat.Offer
	Attending []vezechat.Attendance
	Queues    []vezechat.Queue
	Agents    []vezechat.Agent
	Skills    []vezechat.Skill
	Macros    []vezechat.Macro
	Fields    []vezechat.TicketField
	Clocks    []vezechat.Clock
	Links     []vezechat.TicketLink
	Watchers  []vezechat.User
	History   []vezechat.TicketChange
	Offered   []vezechat.Event // what came of offers of it
	Why       *vezechat.Why    // nil: it has an agent, or there is nothing to say
}

// Thread is a room's messages.
type Thread struct {
	Room     vezechat.RoomID
	Messages []vezechat.Message
	More     bool
	Head     vezechat.Seq
}

type ticketView struct {
	TicketPage
	Rail      Rail
	Views     []messageView // of the public room
	NoteViews []messageView
	Queue     string
	Dues      []Due
	Changes   []changeView
	Merged    []vezechat.TicketLink // into this one
	Spam      bool                  // it may be closed as that
	Follows   bool                  // one may follow it
	Reasons   []reasonView
	WhyText   string
	Others    []vezechat.Attendance
	Watching  bool
	Moves     []moveView
	Customs   []customView
	Blank     messageView
	Data      pageData
	MaxText   int
}

type moveView struct {
	Move  vezechat.Move
	Label string
	Wake  bool // it may have a time at which the ticket is open again
}

type changeView struct {
	At   time.Time
	Who  string
	What string
	Why  string
	More []fieldView
}

// fieldView is a field that has changed.
type fieldView struct {
	Name     string
	Was, Now *valueView // nil: none
}

// valueView is what a field says: a text, or a time.
type valueView struct {
	Text string
	At   time.Time
	Href string // of a ticket
}

// sinceView is how long something has lasted.
type sinceView struct {
	At   time.Time
	Text string
}

type reasonView struct {
	Agent  string
	Reason string
	Until  time.Time // as the reason ends
}

type customView struct {
	vezechat.TicketField
	Value string
}

// Ticket writes a ticket for the desk.
func (p *Pages) Ticket(w io.Writer, d TicketPage) error {
	now := p.now()
	t := d.Ticket
	v := ticketView{
		TicketPage: d, Rail: railOf(d.Page, d.Self, d.Offers, now), Queue: queueName(d.Queues, t.Queue), MaxText: vezechat.MaxText, Moves: movesOf(t.Status),
		Blank: messageView{Page: d.Page, Initial: "?", First: true, Plain: true},
		Data: pageData{
			Base: d.Base, Me: int64(d.Me.UserID), Handle: d.Me.Handle, Epoch: d.Epoch, Room: int64(t.Room), Head: uint64(d.Public.Head), MaxText: vezechat.MaxText,
			Ticket: int64(t.ID), Notes: int64(t.NotesRoom), NotesHead: uint64(d.Notes.Head), Desk: true, Duty: onDuty(d.Self), More: d.Public.More, Live: true,
		},
	}
	var err error
	if v.Views, err = p.thread(d.Page, d.Public, true, d.Read); err != nil {
		return err
	}
	if v.NoteViews, err = p.thread(d.Page, d.Notes, false, 0); err != nil {
		return err
	}
	for _, c := range d.Clocks {
		if c.State != vezechat.ClockCancelled || !c.BreachedAt.IsZero() {
			v.Dues = append(v.Dues, dueOf(c, now))
		}
	}
	slices.SortStableFunc(v.Dues, sooner)
	for _, c := range slices.Backward(d.History) {
		v.Changes = append(v.Changes, d.change(c))
	}
	for _, e := range d.Offered {
		v.Changes = append(v.Changes, d.offer(e))
	}
	slices.SortStableFunc(v.Changes, func(a, b changeView) int { return b.At.Compare(a.At) })
	v.Merged, v.Links = mergedOf(d.Links, t.ID)
	v.Spam = slices.ContainsFunc(v.Moves, func(m moveView) bool { return m.Move == vezechat.MoveSpam })
	v.Follows = d.Closed() && !t.Guest && t.CloseReason != vezechat.CloseSpam && t.MergedInto == 0
	v.why()
	for _, a := range d.Attending {
		if a.UserID != d.Me.UserID {
			v.Others = append(v.Others, a)
		}
	}
	v.Watching = slices.ContainsFunc(d.Watchers, func(u vezechat.User) bool { return u.ID == d.Me.UserID })
	v.Customs = customsOf(d.Fields, t.Custom)
	return p.write(w, "ticket", v)
}

// thread is a room's messages as a ticket's page shows them: nothing is done to them
// there.
func (p *Pages) thread(page Page, t Thread, public bool, read vezechat.MessageID) ([]messageView, error) {
	room := RoomPage{Page: page, Room: vezechat.Room{ID: t.Room}}
	var out []messageView
	var prev *vezechat.Message
	for i := range t.Messages {
		m, err := p.messageView(room, prev, t.Messages[i])
		if err != nil {
			return nil, err
		}
		m.Plain, m.Team = true, public && slices.ContainsFunc(m.Flags, func(f string) bool { return f == vezechat.FlagStaff || f == vezechat.FlagBot })
		if read > 0 && m.ID > read {
			m.New, m.First, read = true, true, 0
		}
		out = append(out, m)
		prev = &t.Messages[i]
	}
	return out, nil
}

// LastSeq is the last message that the page shows: an answer is compared with it.
func (d TicketPage) LastSeq() vezechat.MessageID {
	if n := len(d.Public.Messages); n > 0 {
		return d.Public.Messages[n-1].ID
	}
	return 0
}

// Closed reports whether the ticket is done for good.
func (d TicketPage) Closed() bool { return d.Ticket.Status == vezechat.StatusClosed }

// movesOf are the moves that a person of the desk may make, those they make most
// first.
func movesOf(s vezechat.Status) []moveView {
	var out []moveView
	for _, m := range []moveView{
		{vezechat.MoveSolve, "Solve", false}, {vezechat.MoveReopen, "Open again", false}, {vezechat.MoveResume, "Go on now", false},
		{vezechat.MoveWait, "Wait for the requester", true}, {vezechat.MoveHold, "Put on hold", true}, {vezechat.MoveSpam, "Spam", false},
	} {
		to, err := s.Transition(m.Move, vezechat.PartyStaff)
		if err == nil && (to != s || m.Wake) {
			out = append(out, m)
		}
	}
	return out
}

// Aside reports whether the ticket may wait for something: a solved one may not.
func (v ticketView) Aside() bool {
	return slices.ContainsFunc(v.Moves, func(m moveView) bool { return m.Wake })
}

// What forms of the desk offer.
var (
	allStatuses   = []vezechat.Status{vezechat.StatusNew, vezechat.StatusOpen, vezechat.StatusPending, vezechat.StatusOnHold, vezechat.StatusSolved, vezechat.StatusClosed}
	allPriorities = []vezechat.Priority{vezechat.PriorityUrgent, vezechat.PriorityHigh, vezechat.PriorityNormal, vezechat.PriorityLow}
	allOrders     = []vezechat.TicketOrder{vezechat.OrderNewest, vezechat.OrderUpdated, vezechat.OrderWaiting}
)

// Statuses are what the filter offers.
func (InboxPage) Statuses() []vezechat.Status { return allStatuses }

// Priorities are what the filter and the bulk bar offer.
func (InboxPage) Priorities() []vezechat.Priority { return allPriorities }

// Orders are what the list offers.
func (InboxPage) Orders() []vezechat.TicketOrder { return allOrders }

// Priorities are what a ticket may have.
func (TicketPage) Priorities() []vezechat.Priority { return allPriorities }
