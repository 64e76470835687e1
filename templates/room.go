package templates

import (
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

// GroupWithin is how close in time messages of one user must be to stand under
// one name.
const GroupWithin = 5 * time.Minute

// RoomPage is one room.
type RoomPage struct {
	Page
	Room     vezechat.Room
	Title    string             // shown instead of the room's name when set
	Epoch    string             // of the log
	Messages []vezechat.Message // the newest last
	More     bool               // there are older ones
	Head     vezechat.Seq       // MessagePage.Head: where the socket joins
	Before   vezechat.MessageID // the page ends before this message; 0: at the room's end
	ReadUpto vezechat.Seq       // the caller's read position; 0: unknown, no divider
	Members  []vezechat.Member  // the first of them
	Here     []vezechat.UserID  // members known to be online
	ReplyTo  *vezechat.Message  // the message that the composer answers
	Nonce    string             // of the composer's form, fresh for each page
	Draft    string             // what was typed into a form that failed
	Blocked  []vezechat.UserID  // whose messages the viewer does not want to see
	Invitee  string             // who could not be added as a member
	Rights   Rights
}

// Rights say what the viewer may do in a room.
type Rights struct {
	Post   bool   // send, react, type
	Amend  bool   // delete others' messages
	Join   bool   // become a member
	Leave  bool   // stop being one
	Invite bool   // add members or invite them, and remove those below them
	Block  bool   // keep a list of people whose messages one does not see
	Hooks  bool   // make hooks
	Staff  bool   // everyone in the room is below them
	Reason string // why they may not post, for them to read
}

// Label is how the room is called.
func (r RoomPage) Label() string {
	if r.Title != "" {
		return r.Title
	}
	return r.Room.Name
}

// MaxText is the composer's limit in characters.
func (RoomPage) MaxText() int { return vezechat.MaxText }

// messageView is a message as the template wants it.
type messageView struct {
	vezechat.Message
	Page    Page
	Room    vezechat.RoomID
	Day     string // heading above the message, or ""
	New     bool   // the divider of unread messages stands above it
	First   bool   // begins a group
	Mine    bool
	Amend   bool // the viewer may delete it
	Post    bool
	HTML    template.HTML
	Hue     int
	Initial string
	React   []reactionView
	Team    bool   // of a ticket's public room: the staff speaks
	Bot     bool   // of another room: a program speaks
	Plain   bool   // nothing can be done to it here
	Gone    string // placeholder of a deleted or hidden message
	Quote   string // the beginning of the message answered, without its marks
}

type reactionView struct {
	vezechat.Reaction
	Mine bool
	IDs  string // of Users, separated by commas
}

// Quoted is the beginning of the message answered.
func (m messageView) Quoted() string {
	switch {
	case m.ReplyTo == 0:
		return ""
	case m.Reply == nil:
		return "an earlier message"
	case m.Reply.Text == "":
		return "message is gone"
	}
	return m.Quote
}

// Blank is what the script clones for messages that come live.
func (v roomView) Blank() messageView {
	return messageView{Page: v.Page, Room: v.Room.ID, Initial: "?", First: true}
}

type roomView struct {
	RoomPage
	Views  []messageView
	Oldest vezechat.MessageID
	Data   pageData
	Roster []memberView
	Online int
	Quick  []string
}

type memberView struct {
	vezechat.Member
	Here    bool
	Below   bool // the viewer may remove them
	Other   bool // the viewer may block them, or no longer
	Blocked bool // the viewer does
	Hue     int
	Initial string
}

func (p *Pages) roomView(d RoomPage) (roomView, error) {
	v := roomView{RoomPage: d, Quick: []string{"👍", "❤️", "😂", "🎉", "🚀", "👀", "🔥", "😢"}}
	fresh := d.ReadUpto > 0 && d.Before == 0
	var prev *vezechat.Message
	for i := range d.Messages {
		m, err := p.messageView(d, prev, d.Messages[i])
		if err != nil {
			return v, err
		}
		if fresh && m.ID > d.ReadUpto && !m.Mine {
			m.New, m.First, fresh = true, true, false
		}
		v.Views = append(v.Views, m)
		prev = &d.Messages[i]
	}
	if len(d.Messages) > 0 {
		v.Oldest = d.Messages[0].ID
	}
	for _, m := range d.Members {
		here := slices.Contains(d.Here, m.UserID)
		if here {
			v.Online++
		}
		other := m.UserID != d.Me.UserID
		v.Roster = append(v.Roster, memberView{
			Member: m, Here: here, Below: other && m.Role.Rank() < d.above(), Other: other && d.Rights.Block, Blocked: slices.Contains(d.Blocked, m.UserID),
			Hue: hue(m.UserID), Initial: initial(m.Handle),
		})
	}
	slices.SortStableFunc(v.Roster, func(a, b memberView) int { return boolInt(b.Here) - boolInt(a.Here) })
	v.Data = d.data()
	return v, nil
}

func (p *Pages) messageView(d RoomPage, prev *vezechat.Message, m vezechat.Message) (messageView, error) {
	v := messageView{
		Message: m, Page: d.Page, Room: d.Room.ID, First: true, Post: d.Rights.Post,
		Mine: m.UserID == d.Me.UserID, Hue: hue(m.UserID), Initial: initial(m.Handle),
		Bot: d.Room.Kind != "" && d.Room.Kind != vezechat.KindSupport && slices.Contains(m.Flags, vezechat.FlagBot),
	}
	if prev == nil || !sameDay(prev.At, m.At) {
		v.Day = dayLabel(m.At, p.now())
	} else {
		v.First = prev.UserID != m.UserID || m.At.Sub(prev.At) > GroupWithin || m.ReplyTo != 0
	}
	if m.Reply != nil {
		quote, err := p.md.plain(m.Reply.Text)
		if err != nil {
			return v, err
		}
		v.Quote = quote
	}
	v.Gone = gone(m)
	if v.Gone == "" && slices.Contains(d.Blocked, m.UserID) {
		v.Gone = "A message of somebody whom you block."
	}
	if v.Gone != "" {
		return v, nil
	}
	v.Amend = v.Mine || d.Rights.Amend
	for _, r := range m.Reactions {
		v.React = append(v.React, reactionView{Reaction: r, Mine: slices.Contains(r.Users, d.Me.UserID), IDs: joinIDs(r.Users)})
	}
	h, err := p.md.render(m.Text)
	v.HTML = h
	return v, err
}

func gone(m vezechat.Message) string {
	switch {
	case m.Deleted:
		return "This message was deleted."
	case m.Hidden:
		return "This message was hidden by a moderator."
	}
	return ""
}

// above is the rank below which the viewer may remove members; 0: none.
func (r RoomPage) above() int {
	switch {
	case !r.Rights.Invite:
		return 0
	case r.Rights.Staff:
		return vezechat.RoleOwner.Rank() + 1
	}
	return r.Room.Role.Rank()
}

// data is what room.js starts from. Only a page at the room's end is live.
func (r RoomPage) data() pageData {
	d := pageData{
		Base: r.Base, Me: int64(r.Me.UserID), Handle: r.Me.Handle, Epoch: r.Epoch, Room: int64(r.Room.ID),
		Head: uint64(r.Head), Read: uint64(r.ReadUpto), More: r.More, Live: r.Before == 0 && r.SignedIn(),
		Amend: r.Rights.Amend, Post: r.Rights.Post, MaxText: vezechat.MaxText, Above: r.above(), Block: r.Rights.Block, Blocked: r.Blocked,
	}
	for _, m := range r.Members {
		d.Members = append(d.Members, personData{ID: int64(m.UserID), Handle: m.Handle, Role: string(m.Role)})
	}
	return d
}

func sameDay(a, b time.Time) bool {
	return a.UTC().Format(time.DateOnly) == b.UTC().Format(time.DateOnly)
}

func dayLabel(t, now time.Time) string {
	switch {
	case sameDay(t, now):
		return "Today"
	case sameDay(t, now.AddDate(0, 0, -1)):
		return "Yesterday"
	}
	return t.UTC().Format("Monday, 2 January 2006")
}

// hue picks one of the eight colours of avatars, as room.js does.
func hue(id vezechat.UserID) int { return int(id % 8) }

// initial is the first letter or digit of a handle.
func initial(handle string) string {
	for _, r := range handle {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	if r, _ := utf8.DecodeRuneInString(strings.TrimPrefix(handle, "@")); r != utf8.RuneError {
		return string(r)
	}
	return "?"
}

func joinIDs(ids []vezechat.UserID) string {
	var b []byte
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return string(b)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
