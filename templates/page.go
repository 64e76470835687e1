package templates

import (
	"strconv"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Page is what every page needs.
type Page struct {
	Base   string          // path prefix without trailing slash: "" or "/proxy/chat"
	CSRF   string          // token of forms (_csrf) and of JSON requests (X-CSRF-Token)
	Me     vezechat.Caller // the zero Caller: not signed in
	Notice string          // what went wrong with the form just sent, or ""
	Done   string          // what the form just sent has done, or ""
	SignIn string          // where to sign in, when Me is nobody; default Base + /auth/signin
}

// SignedIn reports whether somebody looks at the page.
func (p Page) SignedIn() bool { return p.Me.UserID != 0 }

// Desk reports whether somebody who works on tickets looks at the page.
func (p Page) Desk() bool { return p.Me.Desk() }

// KeepsKeys reports whether somebody who may make keys looks at the page.
func (p Page) KeepsKeys() bool { return p.Me.MayKeepKeys() == nil }

// Home is where the page's viewer begins: a guest has one page.
func (p Page) Home() string {
	if p.Me.IsGuest() {
		return p.Base + "/support"
	}
	return p.Base + "/rooms"
}

// SignInURL is where to sign in.
func (p Page) SignInURL() string {
	if p.SignIn != "" {
		return p.SignIn
	}
	return p.Base + "/auth/signin"
}

// RoomsPage is the list of rooms.
type RoomsPage struct {
	Page
	Mine        []RoomItem            // rooms the caller is in, as they should stand
	Open        []RoomItem            // rooms they can join
	Invitations []vezechat.Invitation // that are open
	Kinds       []vezechat.RoomKind   // kinds they may create; none: no form
	MayDM       bool
	Epoch       string // of the log, for the cursors of the socket
	Name        string // what was typed into the create form that failed
	To          string // what was typed into the DM form that failed
}

// RoomItem is a room in the list.
type RoomItem struct {
	vezechat.Room
	Title string // shown instead of Name when set: the other one of a DM
}

// Label is how the room is called in the list.
func (r RoomItem) Label() string {
	if r.Title != "" {
		return r.Title
	}
	return r.Name
}

// UnreadLabel is the count as the badge shows it.
func (r RoomItem) UnreadLabel() string { return unreadLabel(r.Unread) }

func unreadLabel(n int) string {
	if n >= vezechat.MaxUnread {
		return strconv.Itoa(vezechat.MaxUnread-1) + "+"
	}
	return strconv.Itoa(n)
}

// SignInPage is the sign-in page of the built-in dev issuer.
type SignInPage struct {
	Page
	Handle string   // what was typed
	Next   string   // where to go afterwards
	Roles  []string // roles ticked: player, moderator, agent, admin
}

// Ticked reports whether a role's box is ticked; player is at first.
func (p SignInPage) Ticked(role string) bool {
	for _, r := range p.Roles {
		if r == role {
			return true
		}
	}
	return len(p.Roles) == 0 && role == "player"
}

// SignedOutPage tells somebody that they are signed out.
type SignedOutPage struct {
	Page
}

// ErrorPage tells somebody that their request could not be answered.
type ErrorPage struct {
	Page
	Status     int           // HTTP status
	Code       vezechat.Code // stable code
	Message    string        // for the person who asked
	RequestID  string        // for the operator they may write to
	RetryAfter time.Duration
	Typed      string // what was typed into the form that failed; "": it is in the form again
	Back       string // the address of that form's page
}

// Title is the headline for the status.
func (e ErrorPage) Title() string {
	switch e.Status {
	case 401:
		return "Please identify yourself"
	case 403:
		return "This airlock stays shut"
	case 404:
		return "Lost in space"
	case 409:
		return "Somebody was faster"
	case 413:
		return "Too much cargo"
	case 429:
		return "Easy on the thrusters"
	case 503, 504:
		return "Out of radio contact"
	}
	if e.Status >= 500 {
		return "Something broke on our side"
	}
	return "That did not work"
}

// Hint says what to do now.
func (e ErrorPage) Hint() string {
	switch {
	case e.Status == 401:
		return "Sign in, then try again."
	case e.Status == 403:
		if e.Me.IsGuest() {
			return "Without an account you have your conversation with the team, and nothing else."
		}
		return "Ask somebody who runs the room to let you in."
	case e.Status == 404:
		return "The page does not exist, or it is not yours to see."
	case e.RetryAfter > 0:
		return "Try again in " + strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)) + " s."
	case e.Status >= 500:
		return "It is not your fault. Try again in a moment."
	}
	return "Go back and try again."
}

func errorView(d ErrorPage) ErrorPage {
	if d.Message == d.Hint() {
		d.Message = ""
	}
	return d
}

// roomsView is RoomsPage with the data that the script reads.
type roomsView struct {
	RoomsPage
	Data pageData
}

func (p *Pages) roomsView(d RoomsPage) roomsView {
	v := roomsView{RoomsPage: d, Data: pageData{Base: d.Base, Me: int64(d.Me.UserID), Epoch: d.Epoch}}
	for _, r := range d.Mine {
		v.Data.Rooms = append(v.Data.Rooms, roomCursor{ID: int64(r.ID), Head: uint64(r.Head), Unread: r.Unread})
	}
	return v
}

// pageData is the JSON that a page's script starts from. Sequences stay far
// below 2^53, what JavaScript counts exactly: at a million events a second for
// two centuries.
type pageData struct {
	Base    string            `json:"base"`
	Me      int64             `json:"me"`
	Handle  string            `json:"handle,omitempty"`
	Epoch   string            `json:"epoch,omitempty"`
	Rooms   []roomCursor      `json:"rooms,omitempty"`
	Room    int64             `json:"room,omitempty"`
	Head    uint64            `json:"head,omitempty"`
	Read    uint64            `json:"read,omitempty"`
	More    bool              `json:"more,omitempty"`
	Live    bool              `json:"live,omitempty"`
	Amend   bool              `json:"amend,omitempty"`
	Post    bool              `json:"post,omitempty"`
	Above   int               `json:"above,omitempty"` // members whose role ranks below may be removed
	MaxText int               `json:"max_text,omitempty"`
	Members []personData      `json:"members,omitempty"`
	Block   bool              `json:"block,omitempty"` // others may be blocked
	Blocked []vezechat.UserID `json:"blocked,omitempty"`

	// Of the pages of tickets.
	Ticket    int64  `json:"ticket,omitempty"`
	Notes     int64  `json:"notes,omitempty"`
	NotesHead uint64 `json:"notes_head,omitempty"`
	Desk      bool   `json:"desk,omitempty"` // the viewer works on it
	Duty      bool   `json:"duty,omitempty"` // the viewer is an agent, and there
}

type roomCursor struct {
	ID     int64  `json:"id"`
	Head   uint64 `json:"head"`
	Unread int    `json:"unread"`
}

type personData struct {
	ID     int64  `json:"id"`
	Handle string `json:"handle"`
	Role   string `json:"role"`
}
