package postgres_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func texts(list []vezechat.Message) (out []string) {
	for _, m := range list {
		out = append(out, m.Text)
	}
	return out
}

func TestMessages_Pages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "guild")
	empty, err := w.Messages(ctx, vezechat.History{RoomRef: ref(ann, room)})
	if err != nil || len(empty.Messages) != 0 || empty.More || empty.Head != 0 {
		t.Errorf("empty room: %+v, %v", empty, err)
	}
	var ids []vezechat.MessageID
	for i := range 7 {
		ids = append(ids, w.say(ann, room, fmt.Sprint("m", i)))
	}
	for _, tt := range []struct {
		name          string
		before, after vezechat.MessageID
		limit         int
		want          []string
		more          bool
	}{
		{"last", 0, 0, 3, []string{"m4", "m5", "m6"}, true},
		{"all", 0, 0, 7, []string{"m0", "m1", "m2", "m3", "m4", "m5", "m6"}, false},
		{"before", ids[4], 0, 2, []string{"m2", "m3"}, true},
		{"before, to the beginning", ids[2], 0, 2, []string{"m0", "m1"}, false},
		{"after", 0, ids[2], 2, []string{"m3", "m4"}, true},
		{"after, to the end", 0, ids[4], 2, []string{"m5", "m6"}, false},
		{"after the end", 0, ids[6], 2, nil, false},
		{"before a huge id", 1<<64 - 1, 0, 1, []string{"m6"}, true},
	} {
		p, err := w.Messages(ctx, vezechat.History{RoomRef: ref(ann, room), Before: tt.before, After: tt.after, Limit: tt.limit})
		if err != nil || !slices.Equal(texts(p.Messages), tt.want) || p.More != tt.more || p.Head != ids[6] {
			t.Errorf("%s: %v more=%v head=%d, %v; want %v", tt.name, texts(p.Messages), p.More, p.Head, err, tt.want)
		}
	}
	p, err := w.Messages(ctx, vezechat.History{RoomRef: ref(ann, room), First: true, Limit: 2})
	if err != nil || !slices.Equal(texts(p.Messages), []string{"m0", "m1"}) || !p.More {
		t.Errorf("the first: %v more=%v, %v", texts(p.Messages), p.More, err)
	}
	_, err = w.Messages(ctx, vezechat.History{RoomRef: ref(ann, room), Before: 1, First: true})
	wantCode(t, err, vezechat.CodeBadRequest)
	_, err = w.Messages(ctx, vezechat.History{RoomRef: ref(ann, room), Before: 1, After: 1})
	wantCode(t, err, vezechat.CodeBadRequest)
	_, err = w.Messages(ctx, vezechat.History{RoomRef: ref(w.admin(), room+1000)})
	wantCode(t, err, vezechat.CodeNotFound)
}

func TestMessages_ShowWhatBecameOfThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann, bob := w.user("ann"), w.user("bob")
	room := w.room(ann, vezechat.KindGuild, "guild", bob.UserID)
	first := w.say(ann, room, "first "+strings.Repeat("ö", 200))
	reply := said(bob, room, "reply")
	reply.ReplyTo, reply.Nonce, reply.Flags = first, "n1", []string{`a "quoted" \ flag`, "b"}
	second := w.store(reply)
	gone, hid := w.say(ann, room, "deletable"), w.say(bob, room, "hideable")
	re := said(ann, room, "to the hidden")
	re.ReplyTo = hid
	w.store(re)
	about := func(e vezechat.EventType, id vezechat.MessageID, by vezechat.Caller) vezechat.Event {
		return vezechat.Event{Type: e, RoomID: room, MessageID: id, UserID: by.UserID, Text: "edited", Emoji: "🚀"}
	}
	w.store(about(vezechat.EventReactionAdded, gone, bob))
	w.store(
		about(vezechat.EventMessageEdited, second, bob), about(vezechat.EventMessageEdited, first, bob), // the second is not the author's
		about(vezechat.EventMessageDeleted, gone, ann), about(vezechat.EventMessageEdited, gone, ann),
		about(vezechat.EventMessageHidden, hid, ann), about(vezechat.EventReactionAdded, hid, ann),
		about(vezechat.EventReactionAdded, second, ann), about(vezechat.EventReactionAdded, second, bob), about(vezechat.EventReactionAdded, second, ann),
	)
	p, err := w.Messages(ctx, vezechat.History{RoomRef: ref(ann, room)})
	if err != nil || len(p.Messages) != 5 {
		t.Fatal(p, err)
	}
	m := p.Messages
	if !strings.HasPrefix(m[0].Text, "first") || m[0].EditedAt != nil {
		t.Errorf("another's edit counted: %+v", m[0])
	}
	if m[1].Text != "edited" || m[1].EditedAt == nil || m[1].Nonce != "n1" || !slices.Equal(m[1].Flags, reply.Flags) ||
		m[1].Reply == nil || m[1].Reply.Handle != "@ann" || len([]rune(m[1].Reply.Text)) != 120 {
		t.Errorf("reply %+v %+v", m[1], m[1].Reply)
	}
	if r := m[1].Reactions; len(r) != 1 || r[0].Count != 2 || r[0].Emoji != "🚀" || !slices.Equal(r[0].Users, []vezechat.UserID{ann.UserID, bob.UserID}) {
		t.Errorf("reactions %+v", m[1].Reactions)
	}
	if m[2].Text != "" || !m[2].Deleted || m[2].Reactions != nil || m[3].Text != "" || !m[3].Hidden || m[3].Reactions != nil {
		t.Errorf("deleted %+v, hidden %+v", m[2], m[3])
	}
	if m[4].Reply == nil || m[4].Reply.Text != "" {
		t.Errorf("a preview shows hidden text: %+v", m[4].Reply)
	}
	w.store(about(vezechat.EventMessageRestored, hid, ann))
	if got, err := w.Message(ctx, vezechat.MessageRef{RoomRef: ref(ann, room), MessageID: hid}); err != nil || got.Text != "hideable" {
		t.Errorf("restored: %+v, %v", got, err)
	}
}

// A message is the same in a page as by itself, whichever way the page goes.
func TestMessages_AreTheSameInAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann := w.user("ann")
	rooms := []vezechat.RoomID{w.room(ann, vezechat.KindGuild, "guild"), w.room(ann, vezechat.KindGuild, "other")}
	w.fill(1000, rooms, ann.UserID)
	const change = `
UPDATE messages SET deleted_at = CASE WHEN message_id % 4 = 0 THEN now() END, hidden_at = CASE WHEN message_id % 6 = 0 THEN now() END,
    edited_at = CASE WHEN message_id % 9 = 0 THEN now() END, flags = CASE WHEN message_id % 5 = 0 THEN '{a,"b c"}' ELSE '{}' END::text[],
    nonce = CASE WHEN message_id % 3 = 0 THEN NULL ELSE nonce END`
	const react = `
INSERT INTO message_reactions (room_id, message_id, emoji, user_id, seq)
SELECT room_id, message_id, 'a', 1000 + u, 2000 + u FROM messages, generate_series(1, 60) u WHERE message_id % 15 = 0`
	for _, sql := range []string{change, react} {
		if _, err := w.pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	before, err := w.Messages(ctx, vezechat.History{RoomRef: ref(ann, rooms[0]), Before: 901, Limit: 200})
	if err != nil || len(before.Messages) != 200 {
		t.Fatal(len(before.Messages), err)
	}
	after, err := w.Messages(ctx, vezechat.History{RoomRef: ref(ann, rooms[0]), After: before.Messages[0].ID - 1, Limit: 200})
	if err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("after and before differ, %v", err)
	}
	reactions, replies := 0, 0
	for _, m := range before.Messages {
		one, err := w.Message(ctx, vezechat.MessageRef{RoomRef: ref(ann, rooms[0]), MessageID: m.ID})
		if err != nil || !reflect.DeepEqual(m, one) {
			t.Fatalf("in a page %+v, by itself %+v, %v", m, one, err)
		}
		reactions += len(m.Reactions)
		if m.Reply != nil {
			replies++
		}
	}
	if reactions == 0 || replies == 0 {
		t.Error(reactions, "reactions,", replies, "replies")
	}
}

// Nothing of a room reaches who may not see it, by any reading call.
func TestDoor_NothingLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	admin, ann, bob, eve := w.admin(), w.user("ann"), w.user("bob"), w.user("eve")
	guild := w.room(ann, vezechat.KindGuild, "guild")
	lobby := w.room(admin, vezechat.KindGlobal, "lobby")
	dm, err := w.OpenDM(ctx, vezechat.OpenDM{Caller: ann, To: vezechat.UserQuery{ID: bob.UserID}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.pool.Exec(ctx, `INSERT INTO room_restrictions (room_id, user_id, banned_until) VALUES ($1, $2, 'infinity')`, lobby, eve.UserID); err != nil {
		t.Fatal(err)
	}
	blind := vezechat.Caller{UserID: ann.UserID}
	for _, tt := range []struct {
		name string
		c    vezechat.Caller
		room vezechat.RoomID
	}{
		{"a stranger, a guild", eve, guild}, {"a stranger, a direct message", eve, dm.ID}, {"an administrator, a direct message", admin, dm.ID},
		{"banned, a global room", eve, lobby}, {"a token without chat.read", blind, guild}, {"nobody", vezechat.Caller{}, lobby},
	} {
		id := w.store(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: tt.room, UserID: ann.UserID, Handle: "@ann", Text: "secret plan", Nonce: fmt.Sprint("x", w.seq)})
		nonce := fmt.Sprint("x", id-1)
		r := ref(tt.c, tt.room)
		_, errs := w.Messages(ctx, vezechat.History{RoomRef: r})
		_, err1 := w.Message(ctx, vezechat.MessageRef{RoomRef: r, MessageID: id})
		_, err2 := w.MessageByNonce(ctx, vezechat.NonceRef{RoomRef: r, UserID: ann.UserID, Nonce: nonce})
		_, err3 := w.Search(ctx, vezechat.Search{Caller: tt.c, Query: "secret", RoomID: tt.room})
		_, err4 := w.Access(ctx, r)
		_, err5 := w.Members(ctx, vezechat.MemberQuery{RoomRef: r})
		err6 := w.Report(ctx, vezechat.Report{MessageRef: vezechat.MessageRef{RoomRef: r, MessageID: id}})
		err7 := w.ArchiveRoom(ctx, r)
		_, err8 := w.PutMember(ctx, vezechat.MemberChange{RoomRef: r, UserID: tt.c.UserID})
		for i, err := range []error{errs, err1, err2, err3, err4, err5, err6, err7, err8} {
			if vezechat.CodeOf(err) != vezechat.CodeNotFound {
				t.Errorf("%s: call %d answers %v, want not_found", tt.name, i, err)
			}
		}
		found, err := w.Search(ctx, vezechat.Search{Caller: tt.c, Query: "secret"})
		for _, m := range found {
			if m.RoomID == tt.room {
				t.Errorf("%s: search finds %+v", tt.name, m)
			}
		}
		rooms, err2 := w.Rooms(ctx, vezechat.RoomQuery{Caller: tt.c})
		if slices.ContainsFunc(rooms, func(r vezechat.Room) bool { return r.ID == tt.room }) || err != nil || err2 != nil {
			t.Errorf("%s: the room is listed; %v %v", tt.name, err, err2)
		}
	}
	if found, err := w.Search(ctx, vezechat.Search{Caller: ann, Query: "secret"}); err != nil || len(found) != 6 {
		t.Errorf("who may see finds %d, %v; want 6", len(found), err)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann, bob := w.user("ann"), w.user("bob")
	a, b := w.room(ann, vezechat.KindGuild, "a", bob.UserID), w.room(ann, vezechat.KindGuild, "b")
	w.say(ann, a, "warp gate online")
	w.say(bob, a, "warp gate offline")
	last := w.say(ann, b, "gate of warp")
	del, hid := w.say(ann, a, "warp deleted"), w.say(ann, a, "warp hidden")
	w.store(vezechat.Event{Type: vezechat.EventMessageDeleted, RoomID: a, MessageID: del}, vezechat.Event{Type: vezechat.EventMessageHidden, RoomID: a, MessageID: hid})
	for _, tt := range []struct {
		name string
		q    vezechat.Search
		want []string
		code vezechat.Code
	}{
		{"words", vezechat.Search{Caller: ann, Query: "warp gate"}, []string{"gate of warp", "warp gate offline", "warp gate online"}, ""},
		{"phrase", vezechat.Search{Caller: ann, Query: `"warp gate"`}, []string{"warp gate offline", "warp gate online"}, ""},
		{"not", vezechat.Search{Caller: ann, Query: "warp -offline"}, []string{"gate of warp", "warp gate online"}, ""},
		{"in a room", vezechat.Search{Caller: ann, Query: "warp", RoomID: b}, []string{"gate of warp"}, ""},
		{"from", vezechat.Search{Caller: ann, Query: "warp", From: bob.UserID}, []string{"warp gate offline"}, ""},
		{"before", vezechat.Search{Caller: ann, Query: "warp", Before: last, Limit: 1}, []string{"warp gate offline"}, ""},
		{"a member of one", vezechat.Search{Caller: bob, Query: "gate"}, []string{"warp gate offline", "warp gate online"}, ""},
		{"operators alone", vezechat.Search{Caller: ann, Query: `-"`}, nil, ""},
		{"nothing", vezechat.Search{Caller: ann, Query: " "}, nil, vezechat.CodeBadRequest},
		{"a NUL", vezechat.Search{Caller: ann, Query: "a\x00"}, nil, vezechat.CodeBadRequest},
		{"too long", vezechat.Search{Caller: ann, Query: strings.Repeat("a", 201)}, nil, vezechat.CodeTooLarge},
	} {
		got, err := w.Search(ctx, tt.q)
		if !slices.Equal(texts(got), tt.want) || vezechat.CodeOf(err) != tt.code {
			t.Errorf("%s: %v, %v; want %v", tt.name, texts(got), err, tt.want)
		}
	}
}

func TestUnread(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann, bob, cat := w.user("ann"), w.user("bob"), w.user("cat")
	room := w.room(ann, vezechat.KindGuild, "guild", bob.UserID)
	unread := func(c vezechat.Caller) (n int) {
		t.Helper()
		list, err := w.Unread(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		rooms, err := w.Rooms(ctx, vezechat.RoomQuery{Caller: c})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list {
			n += u.Count
		}
		if len(rooms) > 0 && rooms[0].Unread != n {
			t.Errorf("Rooms says %d unread, Unread %d", rooms[0].Unread, n)
		}
		return n
	}
	var last vezechat.Seq
	for range 3 {
		last = w.say(ann, room, "hello")
	}
	w.store(vezechat.Event{Type: vezechat.EventMessageDeleted, RoomID: room, MessageID: last})
	if a, b := unread(ann), unread(bob); a != 0 || b != 2 {
		t.Errorf("unread %d to the author, %d to the other; want 0, 2", a, b)
	}
	marks := []vezechat.ReadMark{{Caller: bob, RoomID: room, Upto: last - 1}, {Caller: bob, RoomID: room, Upto: 1}, {Caller: cat, RoomID: room, Upto: 1}, {Caller: bob, RoomID: 999, Upto: 1}}
	if err := w.MarkRead(ctx, marks); err != nil {
		t.Fatal(err)
	}
	if err := w.MarkRead(ctx, marks[1:2]); err != nil || unread(bob) != 0 {
		t.Errorf("a position moved back: %d unread, %v", unread(bob), err)
	}
	if n := w.count(`SELECT count(*) FROM read_positions WHERE user_id = $1`, cat.UserID); n != 0 {
		t.Errorf("who is no member has %d read positions", n)
	}
	var many []vezechat.Event
	for range vezechat.MaxUnread + 20 {
		many = append(many, said(ann, room, "spam"))
	}
	w.store(many...)
	if got := unread(bob); got != vezechat.MaxUnread {
		t.Errorf("%d unread, want the cap %d", got, vezechat.MaxUnread)
	}
	if _, err := w.PutMember(ctx, vezechat.MemberChange{RoomRef: ref(ann, room), UserID: cat.UserID}); err != nil || unread(cat) != 0 {
		t.Errorf("what was said before joining is unread: %d, %v", unread(cat), err)
	}
	// A position far beyond what there is does not switch counting off.
	far := []vezechat.ReadMark{{Caller: bob, RoomID: room, Upto: 1 << 60}}
	if err := w.MarkRead(ctx, far); err != nil {
		t.Fatal(err)
	}
	if n := w.count(`SELECT seq FROM read_positions WHERE user_id = $1`, bob.UserID); n > int(w.seq)+1000 {
		t.Errorf("the read position is %d, storage is at %d", n, w.seq)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann := w.user("ann")
	room, other := w.room(ann, vezechat.KindGuild, "guild"), w.room(ann, vezechat.KindGuild, "other")
	one := w.say(ann, room, "plain")
	w.say(ann, other, "elsewhere")
	two := w.say(ann, room, "regrettable")
	w.store(vezechat.Event{Type: vezechat.EventMessageEdited, RoomID: room, MessageID: two, UserID: ann.UserID, Text: "regrettable too"},
		vezechat.Event{Type: vezechat.EventMessageHidden, RoomID: room, MessageID: two})
	p, err := w.Events(ctx, vezechat.EventQuery{RoomID: room, After: 0, Limit: 10})
	if err != nil || len(p.Events) != 4 || p.More || p.Stored != w.seq || p.Head != w.seq {
		t.Fatalf("%+v, %v", p, err)
	}
	prev := vezechat.Seq(0)
	for _, e := range p.Events {
		if e.Prev != prev {
			t.Errorf("event %d names %d before it, want %d", e.Seq, e.Prev, prev)
		}
		prev = e.Seq
		if strings.Contains(string(e.Payload), "regrettable") {
			t.Errorf("hidden text leaves: %s", e.Payload)
		}
	}
	if !strings.Contains(string(p.Events[0].Payload), "plain") {
		t.Errorf("payload %s", p.Events[0].Payload)
	}
	p, err = w.Events(ctx, vezechat.EventQuery{RoomID: room, After: one, Limit: 2})
	if err != nil || len(p.Events) != 2 || !p.More || p.Events[0].Seq != two {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = w.Events(ctx, vezechat.EventQuery{RoomID: 4711}); err != nil || len(p.Events) != 0 || p.Stored != w.seq {
		t.Errorf("no such room: %+v, %v", p, err)
	}
}

func TestMessage_WaitsForStorage(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"this process", "another process"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, postgres.Options{})
			ann := w.user("ann")
			room := w.room(ann, vezechat.KindGuild, "guild")
			writer := w.Store
			if who == "another process" {
				var err error
				if writer, err = postgres.Open(t.Context(), w.url, postgres.Options{}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(writer.Close)
			}
			rec := w.record(said(ann, room, "soon"))
			got := make(chan error, 2)
			go func() {
				m, err := w.Message(t.Context(), vezechat.MessageRef{RoomRef: ref(ann, room), MessageID: rec.Seq})
				if err == nil && m.Text != "soon" {
					err = fmt.Errorf("message %+v", m)
				}
				got <- err
			}()
			go func() {
				p, err := w.Messages(t.Context(), vezechat.History{RoomRef: ref(ann, room), AtLeast: rec.Seq})
				if err == nil && p.Head != rec.Seq {
					err = fmt.Errorf("page %+v", p)
				}
				got <- err
			}()
			select {
			case err := <-got:
				t.Fatalf("answered before storage had it: %v", err)
			case <-time.After(150 * time.Millisecond):
			}
			if err := writer.Apply(t.Context(), "e", 0, []vezechat.Record{rec}); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-got; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestMessage_ThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "guild")
	id := w.say(ann, room, "one")
	w.store(vezechat.Event{Type: vezechat.EventMessageDeleted, RoomID: room, MessageID: id})
	get := func(id vezechat.MessageID) error {
		_, err := w.Message(t.Context(), vezechat.MessageRef{RoomRef: ref(ann, room), MessageID: id})
		return err
	}
	wantCode(t, get(id+1-1+0), "")
	wantCode(t, get(w.seq), vezechat.CodeNotFound) // an event, no message
	wantCode(t, get(0), vezechat.CodeNotFound)
	wantCode(t, get(1<<64-1), vezechat.CodeNotFound)
	wantCode(t, get(1<<40), vezechat.CodeUnavailable) // nobody said where the log ends
	w.Saw(w.seq, time.Now())
	wantCode(t, get(1<<40), vezechat.CodeNotFound)
}

func TestReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "guild")
	r := vezechat.Report{MessageRef: vezechat.MessageRef{RoomRef: ref(ann, room), MessageID: w.say(ann, room, "rude")}, Reason: "rude"}
	for range 2 {
		if err := w.Report(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(`SELECT count(*) FROM reports`); n != 1 {
		t.Errorf("%d reports, want 1", n)
	}
	r.Reason = strings.Repeat("x", 1001)
	wantCode(t, w.Report(t.Context(), r), vezechat.CodeTooLarge)
}
