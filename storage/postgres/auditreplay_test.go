package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// random does random things as random people, and knows who may.
type random struct {
	*guild
	rnd    *rand.Rand
	people []vezechat.Caller
	role   map[vezechat.UserID]vezechat.Role
	text   map[vezechat.MessageID]string
	author map[vezechat.MessageID]vezechat.UserID
	held   []int64
	refuse int
	done   int
}

// stands is somebody's standing, by what the test knows: not by the hub's tables.
func (r *random) stands(c vezechat.Caller, hub bool) int {
	switch {
	case c.UserID == r.admin.UserID:
		return 5
	case c.Scopes.Has(vezechat.ScopeChatModerate):
		return 4
	case hub:
		return 0
	}
	return map[vezechat.Role]int{"owner": 3, "moderator": 2, "member": 1}[r.role[c.UserID]]
}

func (r *random) anybody() vezechat.Caller { return r.people[r.rnd.IntN(len(r.people))] }

func (r *random) of(id vezechat.UserID) vezechat.Caller {
	return r.people[slices.IndexFunc(r.people, func(c vezechat.Caller) bool { return c.UserID == id })]
}

func (r *random) message() vezechat.MessageID {
	var ids []vezechat.MessageID
	for id := range r.text {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		return 1
	}
	return ids[r.rnd.IntN(len(ids))]
}

func (r *random) step() {
	ctx := r.t.Context()
	switch r.rnd.IntN(8) {
	case 0, 1:
		c := r.anybody()
		if r.role[c.UserID] == "" {
			return
		}
		text := fmt.Sprintf("word%dx", len(r.text))
		id := r.store(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: r.room, UserID: c.UserID, Handle: c.Handle, Text: text, Nonce: text, ReplyTo: r.message()})
		r.text[id], r.author[id] = text, c.UserID
	case 2:
		c := r.anybody()
		h, err := r.Hold(ctx, vezechat.HoldMessage{Caller: c, RoomID: r.room, Text: fmt.Sprintf("heldword%dx", len(r.held))})
		if err == nil {
			r.held = append(r.held, h.ID)
		}
	case 3:
		_ = r.Report(ctx, vezechat.Report{MessageRef: vezechat.MessageRef{RoomRef: ref(r.anybody(), r.room), MessageID: r.message()}}) // may be refused
	case 4:
		r.echo()
	default:
		r.act()
	}
}

// act does something, and compares who may with what the hub says.
func (r *random) act() {
	kinds := vezechat.ModKinds()
	a := vezechat.ModAct{Caller: r.anybody(), Kind: kinds[r.rnd.IntN(len(kinds))], Reason: "because"}
	target := 0
	switch {
	case a.Kind.OnMessage():
		a.RoomID, a.MessageID = r.room, r.message()
		if who, ok := r.author[a.MessageID]; ok {
			target = r.stands(r.of(who), false)
		}
	case a.Kind.OnPerson():
		who := r.anybody()
		a.UserID = who.UserID
		if r.rnd.IntN(2) == 0 {
			a.RoomID = r.room
		}
		target = r.stands(who, a.RoomID == 0)
		if until := time.Now().Add(time.Hour); r.rnd.IntN(2) == 0 && (a.Kind == vezechat.ModMute || a.Kind == vezechat.ModBan) {
			a.Until = &until
		}
	case a.Kind.OnRoom():
		a.RoomID, a.Seconds = r.room, r.rnd.IntN(3)
	case a.Kind.OnCase():
		a.CaseID = int64(r.rnd.IntN(20) + 1)
	default:
		a.HeldID = int64(r.rnd.IntN(len(r.held)+1) + 1)
	}
	own := r.stands(a.Caller, a.Kind.OnPerson() && a.RoomID == 0)
	res, err := r.Act(r.t.Context(), a)
	if err != nil {
		r.refuse++
		return
	}
	if own < 2 || own <= target {
		r.t.Errorf("%+v by standing %d against %d was allowed", a, own, target)
	}
	if res.Changed {
		r.done++
		if a.Kind == vezechat.ModBan && a.RoomID != 0 {
			r.role[a.UserID] = ""
		}
	}
}

// TestModeration_AuditReplaysToTheState lets people of all standings do things at
// random. Then the audit log alone says how everything stands, nobody has acted above
// their standing, and what is hidden or deleted is in no read path.
func TestModeration_AuditReplaysToTheState(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3, 9314969239616426103, rand.Uint64()} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			g := newGuild(t, postgres.Options{})
			r := &random{
				guild: g, rnd: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // a test that can be repeated
				text: map[vezechat.MessageID]string{}, author: map[vezechat.MessageID]vezechat.UserID{},
				people: []vezechat.Caller{g.admin, g.mod, g.person("mod2", vezechat.ScopeChatModerate), g.owner, g.keeper, g.ann, g.bob, g.eve},
				role:   map[vezechat.UserID]vezechat.Role{g.owner.UserID: "owner", g.keeper.UserID: "moderator", g.ann.UserID: "member", g.bob.UserID: "member"},
			}
			for range 400 {
				r.step()
			}
			r.echo()
			if r.done < 20 || r.refuse < 20 {
				t.Fatalf("%d done, %d refused: too few to tell", r.done, r.refuse)
			}
			r.compare(t)
		})
	}
}

// replayed is how everything stands by the audit log.
type replayed struct {
	messages map[vezechat.MessageID]string
	held     map[int64]string
	cases    map[int64]vezechat.CaseState
	mutes    map[vezechat.UserID]string // in the room
	bans     map[vezechat.UserID]string
	hubMutes map[vezechat.UserID]string
	hubBans  map[vezechat.UserID]string
	slow     int
	locked   bool
}

func until(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func (r *random) replay() replayed {
	s := replayed{
		map[vezechat.MessageID]string{}, map[int64]string{}, map[int64]vezechat.CaseState{},
		map[vezechat.UserID]string{}, map[vezechat.UserID]string{}, map[vezechat.UserID]string{}, map[vezechat.UserID]string{}, 0, false,
	}
	var all []vezechat.AuditEntry
	for q := (vezechat.AuditQuery{Caller: r.admin}); ; {
		p, err := r.Audit(r.t.Context(), q)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, p.Entries...)
		if !p.More {
			break
		}
		q.Before = p.Entries[len(p.Entries)-1].ID
	}
	slices.Reverse(all)
	for _, e := range all {
		switch {
		case e.Action.OnMessage():
			s.messages[e.MessageID] = e.After.Message
		case e.Action.OnPerson() && e.RoomID != 0:
			s.mutes[e.UserID], s.bans[e.UserID] = until(e.After.MutedUntil), until(e.After.BannedUntil)
		case e.Action.OnPerson():
			s.hubMutes[e.UserID], s.hubBans[e.UserID] = until(e.After.MutedUntil), until(e.After.BannedUntil)
		case e.Action.OnRoom():
			s.slow, s.locked = *e.After.SlowMode, *e.After.Locked
		case e.Action.OnCase():
			s.cases[e.CaseID] = e.After.Case
		default:
			s.held[e.HeldID] = e.After.Held
		}
		if e.CaseID != 0 && !e.Action.OnCase() {
			s.cases[e.CaseID] = vezechat.CaseDone
		}
	}
	return s
}

func (r *random) compare(t *testing.T) {
	t.Helper()
	s := r.replay()
	read := r.reads(r.admin, "nothing")
	for _, word := range r.text {
		found, err := r.Search(t.Context(), vezechat.Search{Caller: r.admin, Query: word})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range found {
			read += fmt.Sprintf(`"text":%q`, m.Text)
		}
	}
	for id, text := range r.text {
		state := s.messages[id]
		if state == "" {
			state = vezechat.MessageVisible
		}
		var got string
		err := r.pool.QueryRow(t.Context(), `SELECT CASE WHEN deleted_at IS NOT NULL THEN 'deleted' WHEN hidden_at IS NOT NULL THEN 'hidden' ELSE 'visible' END
			FROM messages WHERE room_id = $1 AND message_id = $2`, r.room, id).Scan(&got)
		if err != nil || got != state {
			t.Errorf("message %d is %q, by the audit log %q (%v)", id, got, state, err)
		}
		if shown := strings.Contains(read, `"text":"`+text+`"`); shown != (state == vezechat.MessageVisible) {
			t.Errorf("message %d is %s, and can be read: %v", id, state, shown)
		}
	}
	for _, c := range r.people {
		var mute, ban, hubMute, hubBan *time.Time
		err := r.pool.QueryRow(t.Context(), `SELECT x.muted_until, x.banned_until, h.muted_until, h.banned_until FROM users u
			LEFT JOIN room_restrictions x ON x.user_id = u.id AND x.room_id = $2 LEFT JOIN hub_sanctions h ON h.user_id = u.id WHERE u.id = $1`, c.UserID, r.room).
			Scan(&mute, &ban, &hubMute, &hubBan)
		if err != nil || until(mute) != s.mutes[c.UserID] || until(ban) != s.bans[c.UserID] || until(hubMute) != s.hubMutes[c.UserID] || until(hubBan) != s.hubBans[c.UserID] {
			t.Errorf("%s: %v %v %v %v, by the audit log %q %q %q %q (%v)", c.Handle, mute, ban, hubMute, hubBan,
				s.mutes[c.UserID], s.bans[c.UserID], s.hubMutes[c.UserID], s.hubBans[c.UserID], err)
		}
	}
	a, err := r.Access(t.Context(), ref(r.admin, r.room))
	if err == nil && (a.Room.SlowMode != s.slow || a.Room.Locked != s.locked) {
		t.Errorf("the room is %d %v, by the audit log %d %v", a.Room.SlowMode, a.Room.Locked, s.slow, s.locked)
	}
	for i, id := range r.held {
		state := s.held[id]
		if state == "" {
			state = vezechat.HeldWaiting
		}
		if n := r.count(`SELECT count(*) FROM held_messages WHERE id = $1 AND state = $2`, id, state); n != 1 {
			t.Errorf("held message %d is not %s", id, state)
		}
		said := r.count(`SELECT count(*) FROM messages WHERE text = $1`, fmt.Sprintf("heldword%dx", i))
		if want := map[bool]int{true: 1}[state == vezechat.HeldApproved]; said != want {
			t.Errorf("held message %d is %s and was said %d times", id, state, said)
		}
	}
	for id, state := range s.cases {
		if n := r.count(`SELECT count(*) FROM moderation_cases WHERE id = $1 AND state = $2`, id, state); n != 1 {
			t.Errorf("case %d is not %s", id, state)
		}
	}
}
