package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestEnsureUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	id := vezechat.Identity{Issuer: "i", Subject: "1", Handle: "pilot", Email: "p@x.com"}
	first, err := w.EnsureUser(ctx, id)
	if err != nil || first.Handle != "@pilot" {
		t.Fatal(first, err)
	}
	id.Email, id.EmailVerified, id.Handle = "q@x.com", true, "other"
	again, err := w.EnsureUser(ctx, id)
	if err != nil || again.ID != first.ID || again.Handle != "@pilot" || again.Email != "q@x.com" || !again.EmailVerified {
		t.Errorf("second sight: %+v, %v", again, err)
	}
	for i, like := range []string{"Pilot", "PIL0T", "pіlot"} { // the last with a Cyrillic і
		u, err := w.EnsureUser(ctx, vezechat.Identity{Issuer: "i", Subject: "like" + fmt.Sprint(i), Handle: like})
		if err != nil || u.ID == first.ID || u.Handle == "@"+like {
			t.Errorf("%s: %+v, %v; want a number appended", like, u, err)
		}
	}
	if u, err := w.User(ctx, vezechat.UserQuery{Handle: "PILOT"}); err != nil || u.ID != first.ID {
		t.Errorf("by handle: %+v, %v", u, err)
	}
	_, err = w.User(ctx, vezechat.UserQuery{Handle: "pil0t"})
	wantCode(t, err, vezechat.CodeNotFound)
	_, err = w.User(ctx, vezechat.UserQuery{ID: 999})
	wantCode(t, err, vezechat.CodeNotFound)
	_, err = w.EnsureUser(ctx, vezechat.Identity{Issuer: "i", Subject: "2", Handle: "\u202e"})
	wantCode(t, err, vezechat.CodeBadRequest)
}

// Small capitals read as the letters that they are of. Handles that were taken while they
// did not are still found.
func TestEnsureUser_SmallCapitals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	called := func(subject, handle string) vezechat.User {
		u, err := w.EnsureUser(ctx, vezechat.Identity{Issuer: "i", Subject: subject, Handle: handle})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	found := func(handle string, want vezechat.UserID) {
		t.Helper()
		u, err := w.User(ctx, vezechat.UserQuery{Handle: handle})
		if want == 0 {
			wantCode(t, err, vezechat.CodeNotFound)
		} else if err != nil || u.ID != want {
			t.Errorf("%s: %+v, %v, want %d", handle, u, err, want)
		}
	}
	alice := called("1", "alice")
	found("ᴀʟɪᴄᴇ", 0) // looking for one does not find the other
	like := called("2", "ᴀʟɪᴄᴇ")
	if like.Handle != "@ᴀʟɪᴄᴇ2" {
		t.Errorf("called %s, want a number appended", like.Handle)
	}
	found("alice", alice.ID)
	found("ᴀʟɪᴄᴇ2", like.ID)
	name, err := names.Handle("ᴀʟɪᴄᴇ")
	if err != nil {
		t.Fatal(err)
	}
	if n := w.count(`WITH u AS (UPDATE users SET handle = $2, handle_key = $3, handle_look = $4 WHERE id = $1 RETURNING 1) SELECT count(*) FROM u`, like.ID, name.Text, name.Was, name.Look); n != 1 {
		t.Fatalf("%d rows", n)
	}
	found("alice", alice.ID)
	found("ᴀʟɪᴄᴇ", like.ID)
	if u := called("3", "ᴀʟɪᴄᴇ"); u.Handle == "@ᴀʟɪᴄᴇ" {
		t.Error("taken twice")
	}
}

func TestEnsureUser_AtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ids := make([]vezechat.UserID, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			u, err := w.EnsureUser(t.Context(), vezechat.Identity{Issuer: "i", Subject: "same", Handle: "twin"})
			if err != nil {
				t.Error(err)
			}
			ids[i] = u.ID
		})
	}
	wg.Wait()
	if ids = slices.Compact(ids); len(ids) != 1 || w.count(`SELECT count(*) FROM users`) != 1 {
		t.Errorf("one identity became several users: %v", ids)
	}
}

func TestCreateRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann, bob := w.user("ann"), w.user("bob")
	r, err := w.CreateRoom(ctx, vezechat.CreateRoom{
		Caller: ann, Name: "Red  Squad", Kind: vezechat.KindGuild, Meta: vezechat.Meta(`{"a":1}`),
		Members: []vezechat.UserID{bob.UserID, bob.UserID, ann.UserID}, Key: "k1",
		Trace: vezechat.Trace{Traceparent: "00-1", QNet: map[string]string{"X-Qnet-Hop": "3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "Red Squad" || r.Role != vezechat.RoleOwner || r.Members != 2 || string(r.Meta) != `{"a": 1}` || r.CreatedBy != ann.UserID {
		t.Errorf("made %+v", r)
	}
	want := []vezechat.EventType{vezechat.EventRoomCreated, vezechat.EventMemberJoined, vezechat.EventMemberJoined}
	if got := w.outboxTypes(); !slices.Equal(got, want) {
		t.Errorf("outbox has %v, want %v", got, want)
	}
	box, _ := w.Outbox(ctx, 0, 10)
	if !strings.HasPrefix(box[0].ID, "outbox-") || box[0].Subject != vezechat.RoomSubject(r.ID) || box[0].Trace.QNet["X-Qnet-Hop"] != "3" {
		t.Errorf("outbox entry %+v", box[0])
	}
	again, err := w.CreateRoom(ctx, vezechat.CreateRoom{Caller: ann, Name: "whatever", Kind: vezechat.KindGuild, Key: "k1"})
	if err != nil || again.ID != r.ID {
		t.Errorf("same key: %+v, %v", again, err)
	}
	for _, tt := range []struct {
		name string
		req  vezechat.CreateRoom
		code vezechat.Code
	}{
		{"taken", vezechat.CreateRoom{Caller: bob, Name: "RED SQUAD", Kind: vezechat.KindParty}, vezechat.CodeConflict},
		{"look-alike", vezechat.CreateRoom{Caller: bob, Name: "Rеd Squad", Kind: vezechat.KindParty}, vezechat.CodeConflict},
		{"global without admin", vezechat.CreateRoom{Caller: bob, Name: "g", Kind: vezechat.KindGlobal}, vezechat.CodeForbidden},
		{"dm", vezechat.CreateRoom{Caller: bob, Name: "g", Kind: vezechat.KindDM}, vezechat.CodeBadRequest},
		{"unknown member", vezechat.CreateRoom{Caller: bob, Name: "g", Kind: vezechat.KindGuild, Members: []vezechat.UserID{12345}}, vezechat.CodeBadRequest},
		{"bad meta", vezechat.CreateRoom{Caller: bob, Name: "g", Kind: vezechat.KindGuild, Meta: vezechat.Meta(`[1]`)}, vezechat.CodeBadRequest},
		{"no name", vezechat.CreateRoom{Caller: bob, Name: "\u200b", Kind: vezechat.KindGuild}, vezechat.CodeBadRequest},
		{"read only", vezechat.CreateRoom{Caller: vezechat.Caller{UserID: bob.UserID, Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}, Name: "g", Kind: vezechat.KindGuild}, vezechat.CodeForbidden},
		{"nobody", vezechat.CreateRoom{Name: "g", Kind: vezechat.KindGuild}, vezechat.CodeUnauthorized},
	} {
		_, err := w.CreateRoom(ctx, tt.req)
		if vezechat.CodeOf(err) != tt.code {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.code)
		}
	}
}

func TestCreateRoom_OneKeyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann := w.user("ann")
	ids := make([]vezechat.RoomID, 6)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			r, err := w.CreateRoom(t.Context(), vezechat.CreateRoom{Caller: ann, Name: "once", Kind: vezechat.KindParty, Key: "same"})
			if err != nil {
				t.Error(err)
			}
			ids[i] = r.ID
		})
	}
	wg.Wait()
	if ids = slices.Compact(ids); len(ids) != 1 {
		t.Errorf("one key made rooms %v", ids)
	}
}

func TestRooms_ListsWhatTheCallerMaySee(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	admin, ann, bob := w.admin(), w.user("ann"), w.user("bob")
	for _, n := range []string{"zulu", "alpha", "mike"} {
		w.room(admin, vezechat.KindGlobal, n)
	}
	own := w.room(ann, vezechat.KindGuild, "secret")
	w.room(bob, vezechat.KindGuild, "bobs")
	names := func(c vezechat.Caller, limit int) (all []string) {
		var after vezechat.RoomID
		for {
			list, err := w.Rooms(ctx, vezechat.RoomQuery{Caller: c, After: after, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				all = append(all, r.Name)
				after = r.ID
			}
			if len(list) == 0 {
				return all
			}
		}
	}
	for limit := range 6 {
		if got, want := names(ann, limit), []string{"secret", "alpha", "mike", "zulu"}; !slices.Equal(got, want) {
			t.Errorf("by pages of %d: %v, want %v", limit, got, want)
		}
		if got, want := names(admin, limit), []string{"alpha", "mike", "zulu", "bobs", "secret"}; !slices.Equal(got, want) {
			t.Errorf("administrator, pages of %d: %v, want %v", limit, got, want)
		}
	}
	if err := w.ArchiveRoom(ctx, ref(ann, own)); err != nil {
		t.Fatal(err)
	}
	if err := w.ArchiveRoom(ctx, ref(ann, own)); err != nil {
		t.Errorf("archiving twice: %v", err)
	}
	if got := names(ann, 10); slices.Contains(got, "secret") {
		t.Errorf("an archived room is listed: %v", got)
	}
	if got, _ := w.Rooms(ctx, vezechat.RoomQuery{Caller: ann, Archived: true}); len(got) != 4 {
		t.Errorf("with archived ones: %v", got)
	}
	if got := names(vezechat.Caller{}, 10); len(got) != 0 {
		t.Errorf("nobody sees %v", got)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	admin, ann, bob, cat := w.admin(), w.user("ann"), w.user("bob"), w.user("cat")
	lobby, guild := w.room(admin, vezechat.KindGlobal, "lobby"), w.room(ann, vezechat.KindGuild, "guild")
	change := func(c vezechat.Caller, room vezechat.RoomID, user vezechat.Caller, role vezechat.Role) vezechat.MemberChange {
		return vezechat.MemberChange{RoomRef: ref(c, room), UserID: user.UserID, Role: role}
	}
	put := func(c vezechat.Caller, room vezechat.RoomID, user vezechat.Caller, role vezechat.Role, code vezechat.Code) {
		t.Helper()
		m, err := w.PutMember(ctx, change(c, room, user, role))
		wantCode(t, err, code)
		if err == nil && role != "" && m.Role != role {
			t.Errorf("role %q, want %q", m.Role, role)
		}
	}
	remove := func(c vezechat.Caller, room vezechat.RoomID, user vezechat.Caller, code vezechat.Code) {
		t.Helper()
		wantCode(t, w.RemoveMember(ctx, change(c, room, user, "")), code)
	}
	put(bob, lobby, bob, "", "")
	put(bob, lobby, bob, "", "")
	put(bob, lobby, bob, vezechat.RoleOwner, vezechat.CodeForbidden)
	put(bob, lobby, cat, "", vezechat.CodeForbidden)
	put(bob, guild, bob, "", vezechat.CodeNotFound)
	put(ann, guild, bob, "", "")
	put(bob, guild, cat, "", vezechat.CodeForbidden)
	put(ann, guild, bob, vezechat.RoleModerator, "")
	put(bob, guild, cat, "", "")
	put(bob, guild, bob, vezechat.RoleOwner, vezechat.CodeForbidden)
	put(ann, guild, ann, vezechat.RoleMember, vezechat.CodeConflict)
	remove(ann, guild, ann, vezechat.CodeConflict)
	remove(cat, guild, bob, vezechat.CodeForbidden)
	remove(bob, guild, ann, vezechat.CodeForbidden)
	remove(bob, guild, cat, "")
	remove(bob, guild, cat, "")
	remove(cat, guild, cat, vezechat.CodeNotFound)
	put(ann, guild, bob, vezechat.RoleOwner, "")
	remove(ann, guild, ann, "")
	if got := w.count(`SELECT members FROM rooms WHERE id = $1`, guild); got != 1 {
		t.Errorf("%d members counted, want 1", got)
	}
	if _, err := w.pool.Exec(ctx, `INSERT INTO room_restrictions (room_id, user_id, banned_until) VALUES ($1, $2, 'infinity')`, lobby, cat.UserID); err != nil {
		t.Fatal(err)
	}
	put(cat, lobby, cat, "", vezechat.CodeNotFound)
	put(admin, lobby, cat, "", vezechat.CodeForbidden)
	list, err := w.Members(ctx, vezechat.MemberQuery{RoomRef: ref(bob, lobby), Limit: 1})
	if err != nil || len(list) != 1 || list[0].Handle != "@admin" || list[0].Role != vezechat.RoleOwner {
		t.Fatalf("members %+v, %v", list, err)
	}
	list, err = w.Members(ctx, vezechat.MemberQuery{RoomRef: ref(bob, lobby), After: list[0].UserID})
	if err != nil || len(list) != 1 || list[0].UserID != bob.UserID {
		t.Errorf("next page %+v, %v", list, err)
	}
	_, err = w.Members(ctx, vezechat.MemberQuery{RoomRef: ref(cat, guild)})
	wantCode(t, err, vezechat.CodeNotFound)
}

func TestUpdateRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann, bob := w.user("ann"), w.user("bob")
	room := w.room(ann, vezechat.KindGuild, "one", bob.UserID)
	w.room(ann, vezechat.KindGuild, "two")
	name, slow, locked := "three", 30, true
	r, err := w.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref(ann, room), Name: &name, SlowMode: &slow})
	if err != nil || r.Name != name || r.SlowMode != slow || r.Locked {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = w.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref(ann, room), Locked: &locked}); err != nil || r.Name != name || !r.Locked {
		t.Errorf("%+v, %v", r, err)
	}
	name = "TWO"
	_, err = w.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref(ann, room), Name: &name})
	wantCode(t, err, vezechat.CodeConflict)
	_, err = w.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref(bob, room), Locked: &locked})
	wantCode(t, err, vezechat.CodeForbidden)
	slow = -1
	_, err = w.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref(ann, room), SlowMode: &slow})
	wantCode(t, err, vezechat.CodeBadRequest)
	if err := w.ArchiveRoom(ctx, ref(bob, room)); vezechat.CodeOf(err) != vezechat.CodeForbidden {
		t.Errorf("a member archives: %v", err)
	}
	if err := w.ArchiveRoom(ctx, ref(ann, room)); err != nil {
		t.Fatal(err)
	}
	_, err = w.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref(ann, room), Locked: &locked})
	wantCode(t, err, vezechat.CodeConflict)
	w.room(bob, vezechat.KindGuild, "three") // the name is free again
}

func TestOpenDM(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	admin, ann, bob, cat := w.admin(), w.user("ann"), w.user("bob"), w.user("cat")
	one, err := w.OpenDM(ctx, vezechat.OpenDM{Caller: bob, To: vezechat.UserQuery{Handle: "@ann"}})
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.OpenDM(ctx, vezechat.OpenDM{Caller: ann, To: vezechat.UserQuery{ID: bob.UserID}})
	if err != nil || one.ID != two.ID || two.Role != vezechat.RoleMember || two.Members != 2 {
		t.Errorf("%+v and %+v, %v", one, two, err)
	}
	for _, c := range []vezechat.Caller{cat, admin} {
		_, err = w.Access(ctx, ref(c, one.ID))
		wantCode(t, err, vezechat.CodeNotFound)
	}
	_, err = w.OpenDM(ctx, vezechat.OpenDM{Caller: bob, To: vezechat.UserQuery{ID: bob.UserID}})
	wantCode(t, err, vezechat.CodeBadRequest)
	_, err = w.OpenDM(ctx, vezechat.OpenDM{Caller: bob, To: vezechat.UserQuery{Handle: "nobody"}})
	wantCode(t, err, vezechat.CodeNotFound)
	wantCode(t, w.RemoveMember(ctx, vezechat.MemberChange{RoomRef: ref(ann, one.ID), UserID: ann.UserID}), vezechat.CodeForbidden)
	if got := len(w.outboxTypes()); got != 3 {
		t.Errorf("%d events, want 3", got)
	}
}

// However a domain is spelt it is the same one, and no other passes for it.
func TestOpenDM_DomainGate(t *testing.T) {
	t.Parallel()
	for _, gate := range []struct{ name, spelt string }{{"ascii", "@VezeUniqverse.com."}, {"idn", "bücher.example"}, {"punycode", "xn--bcher-kva.example"}} {
		t.Run(gate.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, postgres.Options{DomainGate: gate.spelt})
			idn := gate.name != "ascii"
			n := 0
			sign := func(email string, verified bool) vezechat.Caller {
				n++
				u, err := w.EnsureUser(t.Context(), vezechat.Identity{Subject: fmt.Sprint(n), Handle: fmt.Sprint("pilot", n), Email: email, EmailVerified: verified})
				if err != nil {
					t.Fatal(err)
				}
				return vezechat.Caller{UserID: u.ID, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
			}
			within := "ann@vezeuniqverse.com"
			if idn {
				within = "ann@bücher.example"
			}
			ann := sign(within, true)
			for _, tt := range []struct {
				email    string
				verified bool
				in       bool
			}{
				{"a@vezeuniqverse.com", true, !idn},
				{"a@VEZEUNIQVERSE.COM", true, !idn},
				{"a@vezeuniqverse.com.", true, !idn},
				{"a@vezeuniqverse.com", false, false},
				{"a@sub.vezeuniqverse.com", true, false},
				{"a@evil-vezeuniqverse.com", true, false},
				{"a@vezeuniqverse.com.evil.example", true, false},
				{"a@evil.example@vezeuniqverse.com", true, false},
				{"a@vezeuniqverse.com@evil.example", true, false},
				{`"a@evil.example"@vezeuniqverse.com`, true, false},
				{"a@vezeuniqversе.com", true, false}, // Cyrillic е
				{"a@bücher.example", true, idn},
				{"a@bu\u0308cher.example", true, idn},
				{"a@BÜCHER.example", true, idn},
				{"a@xn--bcher-kva.example", true, idn},
				{"a@bucher.example", true, false},
				{"vezeuniqverse.com", true, false},
				{"", true, false},
			} {
				other, want := sign(tt.email, tt.verified), vezechat.CodeDomainGate
				if tt.in {
					want = ""
				}
				_, err := w.OpenDM(t.Context(), vezechat.OpenDM{Caller: ann, To: vezechat.UserQuery{ID: other.UserID}})
				if vezechat.CodeOf(err) != want {
					t.Errorf("to %q (verified %v): %v, want %q", tt.email, tt.verified, err, want)
				}
				_, err = w.OpenDM(t.Context(), vezechat.OpenDM{Caller: other, To: vezechat.UserQuery{ID: ann.UserID}})
				if vezechat.CodeOf(err) != want {
					t.Errorf("by %q (verified %v): %v, want %q", tt.email, tt.verified, err, want)
				}
			}
		})
	}
	if _, err := postgres.Open(t.Context(), "postgres://nowhere.invalid/x", postgres.Options{DomainGate: "not a domain"}); err == nil || !strings.Contains(err.Error(), "DOMAIN_GATE") {
		t.Errorf("a gate that is no domain: %v", err)
	}
}

func TestSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := w.Seed(t.Context(), "lobby", "quantum-alerts", "trade"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := w.count(`SELECT count(*) FROM rooms WHERE kind = 'global'`); got != 3 {
		t.Errorf("%d rooms, want 3", got)
	}
	if got := len(w.outboxTypes()); got != 3 {
		t.Errorf("%d events, want 3", got)
	}
}
