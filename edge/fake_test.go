package edge_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"vezeuniqverse.com/vezechat"
)

// fakeHub is the services and the log in memory, applied at once.
type fakeHub struct {
	vezechat.ModerationService // but for Act

	now func() time.Time

	mu       sync.Mutex // guards all below
	users    []vezechat.User
	rooms    []*fakeRoom
	ids      map[string]vezechat.Seq
	entries  []vezechat.Entry
	events   []vezechat.Event
	reports  []vezechat.Report
	searches []vezechat.Search
	created  []vezechat.CreateRoom
	asked    map[string]int
	logErr   error         // of the next Appends
	err      error         // of the services
	panics   bool          // Rooms panics
	hang     chan struct{} // Rooms closes it and waits for the context
	seq      vezechat.Seq
}

type fakeRoom struct {
	vezechat.Room
	members  map[vezechat.UserID]vezechat.Role
	muted    map[vezechat.UserID]time.Time
	messages []*vezechat.Message
	reads    map[vezechat.UserID]vezechat.Seq
}

func newFakeHub(now func() time.Time) *fakeHub {
	h := &fakeHub{now: now}
	h.reset()
	return h
}

// reset brings the hub back to its first day.
func (h *fakeHub) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids, h.asked, h.seq = map[string]vezechat.Seq{}, map[string]int{}, 0
	h.users, h.rooms, h.entries, h.events, h.created, h.reports, h.searches = nil, nil, nil, nil, nil, nil, nil
	for _, name := range []string{alice, bob, eve} {
		h.users = append(h.users, vezechat.User{ID: vezechat.UserID(len(h.users) + 1), Handle: "@" + name})
	}
	h.room("Lobby", vezechat.KindGlobal, map[vezechat.UserID]vezechat.Role{2: vezechat.RoleMember})
	h.room("Guild", vezechat.KindGuild, map[vezechat.UserID]vezechat.Role{1: vezechat.RoleOwner, 2: vezechat.RoleMember})
}

func (h *fakeHub) room(name string, kind vezechat.RoomKind, members map[vezechat.UserID]vezechat.Role) *fakeRoom {
	r := &fakeRoom{
		Room:    vezechat.Room{ID: vezechat.RoomID(len(h.rooms) + 1), Name: name, Kind: kind, CreatedAt: h.now()},
		members: members, muted: map[vezechat.UserID]time.Time{}, reads: map[vezechat.UserID]vezechat.Seq{},
	}
	h.rooms = append(h.rooms, r)
	return r
}

// begin locks the hub and counts what is asked.
func (h *fakeHub) begin(what string) error {
	h.mu.Lock()
	h.asked[what]++
	return h.err
}

func (h *fakeHub) EnsureUser(_ context.Context, id vezechat.Identity) (vezechat.User, error) {
	defer h.mu.Unlock()
	if err := h.begin("EnsureUser"); err != nil {
		return vezechat.User{}, err
	}
	if id.Handle == "" {
		return vezechat.User{}, vezechat.Errorf(vezechat.CodeBadRequest, "no handle")
	}
	if u := h.find(vezechat.UserQuery{Handle: "@" + id.Handle}); u != nil {
		return *u, nil
	}
	u := vezechat.User{ID: vezechat.UserID(len(h.users) + 1), Handle: "@" + id.Handle, CreatedAt: h.now()}
	h.users = append(h.users, u)
	return u, nil
}

func (h *fakeHub) find(q vezechat.UserQuery) *vezechat.User {
	for i, u := range h.users {
		if u.ID == q.ID || q.ID == 0 && u.Handle == q.Handle {
			return &h.users[i]
		}
	}
	return nil
}

func (h *fakeHub) User(_ context.Context, q vezechat.UserQuery) (vezechat.User, error) {
	defer h.mu.Unlock()
	if err := h.begin("User"); err != nil {
		return vezechat.User{}, err
	}
	if u := h.find(q); u != nil {
		return *u, nil
	}
	return vezechat.User{}, vezechat.Errorf(vezechat.CodeNotFound, "no such user")
}

func (h *fakeHub) access(ref vezechat.RoomRef, act vezechat.Action) (*fakeRoom, vezechat.Access, error) {
	for _, r := range h.rooms {
		if r.ID != ref.RoomID {
			continue
		}
		acc := vezechat.Access{Room: r.Room, UserID: ref.Caller.UserID, Role: r.members[ref.Caller.UserID]}
		if until, ok := r.muted[ref.Caller.UserID]; ok {
			acc.MutedUntil = &until
		}
		return r, acc, acc.May(ref.Caller, act, h.now())
	}
	return nil, vezechat.Access{}, vezechat.Errorf(vezechat.CodeNotFound, "no such room")
}

func (h *fakeHub) CreateRoom(_ context.Context, r vezechat.CreateRoom) (vezechat.Room, error) {
	defer h.mu.Unlock()
	if err := h.begin("CreateRoom"); err != nil {
		return vezechat.Room{}, err
	}
	for i, c := range h.created {
		if r.Key != "" && c.Key == r.Key {
			return h.rooms[len(h.rooms)-len(h.created)+i].Room, nil
		}
	}
	for _, o := range h.rooms {
		if o.Name == r.Name {
			return vezechat.Room{}, vezechat.Errorf(vezechat.CodeConflict, "the name is taken")
		}
	}
	members := map[vezechat.UserID]vezechat.Role{r.Caller.UserID: vezechat.RoleOwner}
	for _, m := range r.Members {
		members[m] = vezechat.RoleMember
	}
	h.created = append(h.created, r)
	room := h.room(r.Name, r.Kind, members)
	room.Meta = r.Meta
	return room.Room, nil
}

func (h *fakeHub) Rooms(ctx context.Context, q vezechat.RoomQuery) ([]vezechat.Room, error) {
	if h.panics {
		panic("a defect")
	}
	if h.hang != nil {
		close(h.hang)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	defer h.mu.Unlock()
	if err := h.begin("Rooms"); err != nil {
		return nil, err
	}
	var out []vezechat.Room
	for _, r := range h.rooms {
		_, acc, err := h.access(vezechat.RoomRef{Caller: q.Caller, RoomID: r.ID}, vezechat.ActionSee)
		if err == nil && r.ID > q.After && len(out) < q.Limit {
			room := r.Room
			room.Role = acc.Role
			out = append(out, room)
		}
	}
	return out, nil
}

func (h *fakeHub) Access(_ context.Context, q vezechat.RoomRef) (vezechat.Access, error) {
	defer h.mu.Unlock()
	if err := h.begin("Access"); err != nil {
		return vezechat.Access{}, err
	}
	// Laxer than the contract: it leaves the decision to the edge, whose own check
	// is then the one that is tested.
	room, acc, err := h.access(q, vezechat.ActionSee)
	if room != nil {
		err = nil
	}
	return acc, err
}

func (h *fakeHub) UpdateRoom(_ context.Context, r vezechat.UpdateRoom) (vezechat.Room, error) {
	defer h.mu.Unlock()
	if err := h.begin("UpdateRoom"); err != nil {
		return vezechat.Room{}, err
	}
	room, _, err := h.access(r.RoomRef, vezechat.ActionModify)
	if err != nil {
		return vezechat.Room{}, err
	}
	if r.Name != nil {
		room.Name = *r.Name
	}
	if r.SlowMode != nil {
		room.SlowMode = *r.SlowMode
	}
	if r.Locked != nil {
		room.Locked = *r.Locked
	}
	return room.Room, nil
}

func (h *fakeHub) ArchiveRoom(_ context.Context, r vezechat.RoomRef) error {
	defer h.mu.Unlock()
	if err := h.begin("ArchiveRoom"); err != nil {
		return err
	}
	room, _, err := h.access(r, vezechat.ActionArchive)
	if err == nil {
		room.ArchivedAt = new(h.now())
	}
	return err
}

func (h *fakeHub) Members(_ context.Context, q vezechat.MemberQuery) ([]vezechat.Member, error) {
	defer h.mu.Unlock()
	if err := h.begin("Members"); err != nil {
		return nil, err
	}
	room, _, err := h.access(q.RoomRef, vezechat.ActionSee)
	if err != nil {
		return nil, err
	}
	var out []vezechat.Member
	for _, u := range h.users {
		if role, ok := room.members[u.ID]; ok {
			out = append(out, vezechat.Member{UserID: u.ID, Handle: u.Handle, Role: role})
		}
	}
	return out, nil
}

func (h *fakeHub) PutMember(_ context.Context, r vezechat.MemberChange) (vezechat.Member, error) {
	defer h.mu.Unlock()
	if err := h.begin("PutMember"); err != nil {
		return vezechat.Member{}, err
	}
	act := vezechat.ActionSee
	if r.UserID != r.Caller.UserID {
		act = vezechat.ActionInvite
	}
	room, _, err := h.access(r.RoomRef, act)
	if err != nil {
		return vezechat.Member{}, err
	}
	if r.Role == "" {
		r.Role = vezechat.RoleMember
	}
	room.members[r.UserID] = r.Role
	return vezechat.Member{UserID: r.UserID, Role: r.Role}, nil
}

func (h *fakeHub) RemoveMember(_ context.Context, r vezechat.MemberChange) error {
	defer h.mu.Unlock()
	if err := h.begin("RemoveMember"); err != nil {
		return err
	}
	act := vezechat.ActionSee
	if r.UserID != r.Caller.UserID {
		act = vezechat.ActionRemove
	}
	room, _, err := h.access(r.RoomRef, act)
	if err == nil {
		delete(room.members, r.UserID)
	}
	return err
}

func (h *fakeHub) OpenDM(_ context.Context, r vezechat.OpenDM) (vezechat.Room, error) {
	defer h.mu.Unlock()
	if err := h.begin("OpenDM"); err != nil {
		return vezechat.Room{}, err
	}
	u := h.find(r.To)
	if u == nil {
		return vezechat.Room{}, vezechat.Errorf(vezechat.CodeNotFound, "no such user")
	}
	return h.room("dm", vezechat.KindDM, map[vezechat.UserID]vezechat.Role{r.Caller.UserID: vezechat.RoleMember, u.ID: vezechat.RoleMember}).Room, nil
}

func (h *fakeHub) MarkRead(_ context.Context, marks []vezechat.ReadMark) error {
	defer h.mu.Unlock()
	if err := h.begin("MarkRead"); err != nil {
		return err
	}
	for _, m := range marks {
		r := h.rooms[m.RoomID-1]
		r.reads[m.Caller.UserID] = max(r.reads[m.Caller.UserID], m.Upto)
	}
	return nil
}

func (h *fakeHub) Unread(_ context.Context, c vezechat.Caller) ([]vezechat.Unread, error) {
	defer h.mu.Unlock()
	if err := h.begin("Unread"); err != nil {
		return nil, err
	}
	var out []vezechat.Unread
	for _, r := range h.rooms {
		n := 0
		for _, m := range r.messages {
			if m.ID > r.reads[c.UserID] {
				n++
			}
		}
		if _, in := r.members[c.UserID]; in && n > 0 {
			out = append(out, vezechat.Unread{RoomID: r.ID, Count: n, Upto: r.reads[c.UserID]})
		}
	}
	return out, nil
}

func (h *fakeHub) Messages(_ context.Context, q vezechat.History) (vezechat.MessagePage, error) {
	defer h.mu.Unlock()
	if err := h.begin("Messages"); err != nil {
		return vezechat.MessagePage{}, err
	}
	room, _, err := h.access(q.RoomRef, vezechat.ActionSee)
	if err != nil {
		return vezechat.MessagePage{}, err
	}
	page := vezechat.MessagePage{Head: room.Head}
	for _, m := range room.messages {
		if (q.Before == 0 || m.ID < q.Before) && m.ID > q.After {
			page.Messages = append(page.Messages, *m)
		}
	}
	if over := len(page.Messages) - q.Limit; over > 0 {
		page.Messages, page.More = page.Messages[over:], true
	}
	return page, nil
}

func (h *fakeHub) Message(_ context.Context, q vezechat.MessageRef) (vezechat.Message, error) {
	defer h.mu.Unlock()
	if err := h.begin("Message"); err != nil {
		return vezechat.Message{}, err
	}
	room, _, err := h.access(q.RoomRef, vezechat.ActionSee)
	if err != nil {
		return vezechat.Message{}, err
	}
	for _, m := range room.messages {
		if m.ID == q.MessageID {
			return *m, nil
		}
	}
	return vezechat.Message{}, vezechat.Errorf(vezechat.CodeNotFound, "no such message")
}

func (h *fakeHub) MessageByNonce(_ context.Context, q vezechat.NonceRef) (vezechat.Message, error) {
	defer h.mu.Unlock()
	if err := h.begin("MessageByNonce"); err != nil {
		return vezechat.Message{}, err
	}
	room, _, err := h.access(q.RoomRef, vezechat.ActionSee)
	if err != nil {
		return vezechat.Message{}, err
	}
	for _, m := range room.messages {
		if m.Nonce == q.Nonce && m.UserID == q.UserID {
			return *m, nil
		}
	}
	return vezechat.Message{}, vezechat.Errorf(vezechat.CodeNotFound, "no such message")
}

func (h *fakeHub) Events(context.Context, vezechat.EventQuery) (vezechat.EventPage, error) {
	return vezechat.EventPage{}, nil
}

func (h *fakeHub) Search(_ context.Context, q vezechat.Search) ([]vezechat.Message, error) {
	defer h.mu.Unlock()
	if err := h.begin("Search"); err != nil {
		return nil, err
	}
	h.searches = append(h.searches, q)
	var out []vezechat.Message
	for _, r := range h.rooms {
		if _, _, err := h.access(vezechat.RoomRef{Caller: q.Caller, RoomID: r.ID}, vezechat.ActionSee); err != nil {
			continue
		}
		for _, m := range r.messages {
			if strings.Contains(m.Text, q.Query) {
				out = append(out, *m)
			}
		}
	}
	return out, nil
}

func (h *fakeHub) Report(_ context.Context, r vezechat.Report) error {
	defer h.mu.Unlock()
	if err := h.begin("Report"); err != nil {
		return err
	}
	if _, _, err := h.access(r.RoomRef, vezechat.ActionSee); err != nil {
		return err
	}
	h.reports = append(h.reports, r)
	return nil
}

// Append keeps the entry and applies it at once, as storage would later.
func (h *fakeHub) Append(_ context.Context, e vezechat.Entry) (vezechat.Ack, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.logErr != nil {
		return vezechat.Ack{}, h.logErr
	}
	if seq, ok := h.ids[e.ID]; ok {
		return vezechat.Ack{Seq: seq, Duplicate: true}, nil
	}
	ev, err := vezechat.ParseEvent(e.Payload)
	if err != nil {
		return vezechat.Ack{}, err
	}
	h.seq++
	h.ids[e.ID] = h.seq
	h.entries = append(h.entries, e)
	h.events = append(h.events, ev)
	h.apply(ev, h.seq)
	return vezechat.Ack{Seq: h.seq}, nil
}

// Act deletes a message, as storage's outbox would; moderation itself has the real ones
// in its tests.
func (h *fakeHub) Act(ctx context.Context, a vezechat.ModAct) (vezechat.ModResult, error) {
	h.mu.Lock()
	room := h.rooms[a.RoomID-1]
	i := slices.IndexFunc(room.messages, func(m *vezechat.Message) bool { return m.ID == a.MessageID })
	m := *room.messages[i]
	h.mu.Unlock()
	e := vezechat.Event{Type: vezechat.EventMessageDeleted, RoomID: a.RoomID, MessageID: a.MessageID, UserID: m.UserID, Handle: m.Handle, By: a.Caller.UserID, At: h.now()}
	ack, err := h.Append(ctx, vezechat.Entry{Subject: vezechat.RoomSubject(a.RoomID), ID: "act-" + a.MessageID.String(), Payload: vezechat.AppendEvent(nil, &e)})
	return vezechat.ModResult{Changed: !ack.Duplicate}, err
}

func (h *fakeHub) apply(ev vezechat.Event, seq vezechat.Seq) {
	room := h.rooms[ev.RoomID-1]
	room.Head = seq
	if ev.Type == vezechat.EventMessageCreated {
		room.messages = append(room.messages, &vezechat.Message{
			RoomID: room.ID, ID: seq, UserID: ev.UserID, Handle: ev.Handle, Text: ev.Text, At: ev.At, Nonce: ev.Nonce, ReplyTo: ev.ReplyTo,
		})
		return
	}
	i := slices.IndexFunc(room.messages, func(m *vezechat.Message) bool { return m.ID == ev.MessageID })
	if i < 0 {
		return
	}
	switch m := room.messages[i]; ev.Type {
	case vezechat.EventMessageEdited:
		m.Text = ev.Text
	case vezechat.EventMessageDeleted:
		m.Text, m.Deleted = "", true
	}
}

// forget is what the log does after its window: it knows no IDs any more.
func (h *fakeHub) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.ids)
}

func (h *fakeHub) last() (vezechat.Entry, vezechat.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entries[len(h.entries)-1], h.events[len(h.events)-1]
}

func (h *fakeHub) appended() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries)
}
