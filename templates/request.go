package templates

import (
	"fmt"
	"io"
	"strings"

	"vezeuniqverse.com/vezechat"
)

// SupportPage is where a conversation with the desk begins.
type SupportPage struct {
	Page
	Nonce                      string
	Subject, Text, Name, Email string // what was typed into the form that failed
}

// Support writes the page where a conversation with the desk begins.
func (p *Pages) Support(w io.Writer, d SupportPage) error { return p.write(w, "support", d) }

// MaxText is the limit of a message in characters.
func (SupportPage) MaxText() int { return vezechat.MaxText }

// TicketsPage is a requester's own tickets.
type TicketsPage struct {
	Page
	Tickets       []vezechat.Ticket
	More          bool
	Nonce         string
	Subject, Body string // what was typed into the form that failed
}

// Last is the last ticket of the page.
func (d TicketsPage) Last() vezechat.TicketID {
	if n := len(d.Tickets); n > 0 {
		return d.Tickets[n-1].ID
	}
	return 0
}

// Tickets writes a requester's own tickets.
func (p *Pages) Tickets(w io.Writer, d TicketsPage) error { return p.write(w, "tickets", d) }

// RequestPage is a ticket as its requester sees it, with an account or as a guest.
type RequestPage struct {
	Page
	Ticket vezechat.Ticket
	Epoch  string
	Thread Thread
	Place  vezechat.QueuePlace
	Nonce  string
	Draft  string
	Body   string           // what was typed into the form that asks again
	Merged *vezechat.Ticket // into which this one was merged; nil: none, or none that they may see
	Reason string           // why they may not write; "": they may
}

type requestView struct {
	RequestPage
	Views    []messageView
	State    stateView
	Blank    messageView
	Data     pageData
	MaxText  int
	Label    string
	Rate     bool // it may be rated now
	Reopen   bool
	Solve    bool
	FollowUp bool
	LeaveTo  bool // a guest may leave an address
	Scores   []int
	Waits    bool   // it may be answered
	Here     string // the page's own address
	Ask      string // what is written into the box of a message
}

// stateView says where a conversation stands.
type stateView struct {
	Kind string // waiting, later, answered, done; and empty: nobody is at the desk
	Head string
	Text string
}

// Later is that nobody is there who answers at once.
func (s stateView) Later() bool { return strings.HasPrefix(s.Kind, "later") }

// Request writes a ticket for its requester.
func (p *Pages) Request(w io.Writer, d RequestPage) error {
	t := d.Ticket
	guest, own := d.Me.IsGuest(), d.Me.UserID == t.Requester // who sees it since it was merged with theirs only reads and writes
	v := requestView{
		RequestPage: d, MaxText: vezechat.MaxText, Label: t.Subject, Scores: []int{1, 2, 3, 4, 5},
		Blank: messageView{Page: d.Page, Initial: "?", First: true, Plain: true}, State: d.state(),
		Rate: t.Status == vezechat.StatusSolved && own, Reopen: t.Status == vezechat.StatusSolved && own && !guest,
		FollowUp: t.Status == vezechat.StatusClosed && t.CloseReason == vezechat.CloseExpired && own && !guest,
		Waits:    t.Status != vezechat.StatusClosed, Here: d.Base + "/tickets/" + t.ID.String(), Ask: "Message to the team",
		Solve:   own && !guest && (t.Status == vezechat.StatusNew || t.Status == vezechat.StatusOpen || t.Status == vezechat.StatusPending),
		LeaveTo: guest && t.Status != vezechat.StatusClosed,
		Data: pageData{
			Base: d.Base, Me: int64(d.Me.UserID), Handle: d.Me.Handle, Epoch: d.Epoch, Room: int64(t.Room), Head: uint64(d.Thread.Head), MaxText: vezechat.MaxText,
			Ticket: int64(t.ID), More: d.Thread.More, Live: true,
		},
	}
	switch {
	case guest:
		v.Here = d.Base + "/support"
	case d.Merged != nil:
		v.Ask = "Message to the team: it goes on in #" + d.Merged.ID.String()
	case t.Status == vezechat.StatusClosed && t.CloseReason == vezechat.CloseExpired:
		v.Ask = "Message to the team: it begins a new request"
	}
	var err error
	if v.Views, err = p.thread(d.Page, d.Thread, true, 0); err != nil {
		return err
	}
	return p.write(w, "request", v)
}

// Mail is the subject of this page's form of an address: what the guest left before.
func (d RequestPage) Mail() string { return d.Ticket.GuestEmail }

// state says honestly where the conversation stands: nobody is told that somebody
// comes when nobody is there.
func (d RequestPage) state() stateView {
	t := d.Ticket
	switch t.Status {
	case vezechat.StatusClosed:
		return d.closed()
	case vezechat.StatusSolved:
		if t.SolvedBy != 0 && t.SolvedBy == t.Requester && t.Requester != d.Me.UserID {
			return stateView{"done", t.RequesterHandle + " has marked this as solved.", "Write again if it is not."}
		}
		if t.SolvedBy != 0 && t.SolvedBy == t.Requester {
			return stateView{"done", "You marked this as solved.", "Write again if it is not."}
		}
		return stateView{"done", "The team has marked this as solved.", "Write again if it is not."}
	case vezechat.StatusPending:
		return stateView{"answered", "The team waits for your answer.", ""}
	}
	who := t.AssigneeHandle
	switch {
	case t.Live && t.Assignee != 0:
		return stateView{"answered", who + " is with you.", ""}
	case t.Assignee != 0 && t.WaitingSince.IsZero():
		return stateView{"answered", who + " looks after this.", ""}
	case t.Assignee != 0:
		return stateView{"later", who + " looks after this.", "You are answered as soon as they get to it."}
	case !t.FirstReplyAt.IsZero() && t.WaitingSince.IsZero():
		return stateView{"answered", "The team has answered.", "Write here when there is more to say."}
	case t.Live && d.Place.State == vezechat.ItemOffered:
		return stateView{"waiting", "Somebody is being asked to take your chat.", "Stay on this page."}
	case t.Live && d.Place.Position > 0 && !d.Place.Nobody:
		return d.waiting()
	case t.Channel == vezechat.ChannelChat && (!d.Place.Live || d.Place.Nobody):
		return stateView{"later empty", "Nobody is at the desk right now.", "Your message is kept, and is answered when somebody is back. You need not wait here: come back to this page later."}
	}
	return stateView{"later", "Your message has arrived.", "It is answered when there is time. You need not wait here."}
}

func (d RequestPage) closed() stateView {
	switch {
	case d.Merged != nil:
		return stateView{"done", "This request was merged into another one.", "It goes on there:"}
	case d.Ticket.MergedInto != 0:
		return stateView{"done", "This request was merged into another one.", "The team goes on with it there. You can read here what was said."}
	}
	return stateView{"done", "This conversation is closed.", "You can read it here."}
}

func (d RequestPage) waiting() stateView {
	head := "You are next."
	if n := d.Place.Position - 1; n == 1 {
		head = "One conversation is before yours."
	} else if n > 1 {
		head = fmt.Sprintf("%d conversations are before yours.", n)
	}
	text := "We cannot say yet how long it takes."
	if r := waitRange(d.Place.Soon, d.Place.Late); r != "" {
		text = "Most people wait " + r + "."
	}
	return stateView{"waiting", head, text}
}
