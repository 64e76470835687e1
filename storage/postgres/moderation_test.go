package postgres_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

var readWrite = vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}

// person makes somebody whose token has shown more than chat.read and chat.write.
func (w *world) person(handle string, more ...vezechat.Scope) vezechat.Caller {
	w.t.Helper()
	scopes := append(slices.Clone(readWrite), more...)
	u, err := w.EnsureUser(w.t.Context(), vezechat.Identity{Issuer: "test", Subject: handle, Handle: handle, Scopes: scopes})
	if err != nil {
		w.t.Fatal(err)
	}
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: scopes}
}

// echo lets the log take what waits for it, and stores it.
func (w *world) echo() {
	w.t.Helper()
	list, err := w.Outbox(w.t.Context(), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	after := w.seq
	var recs []vezechat.Record
	for _, e := range list {
		w.seq++
		recs = append(recs, vezechat.Record{Subject: e.Subject, Seq: w.seq, ID: e.ID, Payload: e.Payload})
	}
	if err := w.Apply(w.t.Context(), "e1", after, recs); err != nil {
		w.t.Fatal(err)
	}
}

// does what has to work.
func (w *world) does(a vezechat.ModAct) vezechat.ModResult {
	w.t.Helper()
	res, err := w.Act(w.t.Context(), a)
	if err != nil {
		w.t.Fatalf("%+v: %v", a, err)
	}
	w.echo()
	return res
}

// guild is a room with somebody of each standing.
type guild struct {
	*world
	admin, mod, owner, keeper, ann, bob, eve vezechat.Caller
	room                                     vezechat.RoomID
}

func newGuild(t testing.TB, o postgres.Options) *guild {
	w := newWorld(t, o)
	g := &guild{
		world: w, admin: w.person("admin", vezechat.ScopeChatAdmin), mod: w.person("mod", vezechat.ScopeChatModerate),
		owner: w.person("owner"), keeper: w.person("keeper"), ann: w.person("ann"), bob: w.person("bob"), eve: w.person("eve"),
	}
	g.room = w.room(g.owner, vezechat.KindGuild, "Guild", g.keeper.UserID, g.ann.UserID, g.bob.UserID)
	_, err := w.PutMember(t.Context(), vezechat.MemberChange{RoomRef: ref(g.owner, g.room), UserID: g.keeper.UserID, Role: vezechat.RoleModerator})
	if err != nil {
		t.Fatal(err)
	}
	w.echo()
	return g
}

// reads is all that somebody can read of the room, as text.
func (g *guild) reads(c vezechat.Caller, words string) string {
	g.t.Helper()
	ctx := g.t.Context()
	page, err := g.Messages(ctx, vezechat.History{RoomRef: ref(c, g.room)})
	if err != nil {
		g.t.Fatal(err)
	}
	found, err := g.Search(ctx, vezechat.Search{Caller: c, Query: words})
	if err != nil {
		g.t.Fatal(err)
	}
	all := []any{page, found}
	for _, m := range page.Messages {
		one, err := g.Message(ctx, vezechat.MessageRef{RoomRef: ref(c, g.room), MessageID: m.ID})
		if err != nil {
			g.t.Fatal(err)
		}
		all = append(all, one)
		if m.Nonce != "" {
			same, err := g.MessageByNonce(ctx, vezechat.NonceRef{RoomRef: ref(c, g.room), UserID: m.UserID, Nonce: m.Nonce})
			if err != nil {
				g.t.Fatal(err)
			}
			all = append(all, same)
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		g.t.Fatal(err)
	}
	events, err := g.Events(ctx, vezechat.EventQuery{RoomID: g.room})
	if err != nil {
		g.t.Fatal(err)
	}
	out := string(b)
	for _, e := range events.Events {
		out += string(e.Payload)
	}
	return out
}

func TestAct_HiddenIsNowhereAndRestoredIsBack(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	id := g.say(g.ann, g.room, "a secret place")
	g.store(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: g.room, UserID: g.bob.UserID, Handle: g.bob.Handle, Text: "which?", ReplyTo: id})
	act := vezechat.ModAct{Caller: g.keeper, RoomID: g.room, MessageID: id, Reason: "spoils the game"}
	for range 2 { // and once more
		act.Kind = vezechat.ModHide
		if res := g.does(act); !res.Changed || res.Audit.Before.Message != "visible" || res.Audit.After.Message != "hidden" {
			t.Errorf("hidden: %+v", res)
		}
		if res := g.does(act); res.Changed {
			t.Error("hidden twice")
		}
		if got := g.reads(g.bob, "secret"); strings.Contains(got, "a secret place") {
			t.Errorf("hidden text can be read: %s", got)
		}
		act.Kind = vezechat.ModRestore
		g.does(act)
		if got := g.reads(g.bob, "secret"); strings.Count(got, "a secret place") != 6 { // page, its reply, search, message, its reply, event
			t.Errorf("restored text is not back: %s", got)
		}
	}
	act.Kind = vezechat.ModDelete
	g.does(act)
	if got := g.reads(g.bob, "secret"); strings.Contains(got, "a secret place") {
		t.Errorf("deleted text can be read: %s", got)
	}
	act.Kind = vezechat.ModRestore
	_, err := g.Act(t.Context(), act)
	wantCode(t, err, vezechat.CodeConflict)
}

func TestAct_RoomMutesAndBansEndByThemselves(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := newGuild(t, postgres.Options{Now: func() time.Time { return now }})
	until := now.Add(time.Hour)
	g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModMute, RoomID: g.room, UserID: g.ann.UserID, Until: &until, Reason: "shouts"})
	post := func() error {
		a, err := g.Access(t.Context(), ref(g.ann, g.room))
		if err != nil {
			return err
		}
		return a.May(g.ann, vezechat.ActionPost, now)
	}
	wantCode(t, post(), vezechat.CodeMuted)
	now = until.Add(time.Second)
	wantCode(t, post(), "")
	g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModMute, RoomID: g.room, UserID: g.ann.UserID})
	now = now.AddDate(100, 0, 0)
	wantCode(t, post(), vezechat.CodeMuted)
	g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModUnmute, RoomID: g.room, UserID: g.ann.UserID})
	wantCode(t, post(), "")

	members := g.count(`SELECT members FROM rooms WHERE id = $1`, g.room)
	g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModBan, RoomID: g.room, UserID: g.ann.UserID})
	wantCode(t, post(), vezechat.CodeNotFound)
	if n := g.count(`SELECT members FROM rooms WHERE id = $1`, g.room); n != members-1 {
		t.Errorf("%d members, of %d before", n, members)
	}
	_, err := g.PutMember(t.Context(), vezechat.MemberChange{RoomRef: ref(g.owner, g.room), UserID: g.ann.UserID})
	wantCode(t, err, vezechat.CodeForbidden)
	g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModUnban, RoomID: g.room, UserID: g.ann.UserID})
	for like, want := range map[string]int{`%"room.member.unbanned"%`: 1, `%"room.member.banned"%`: 1, `%"room.member.muted"%`: 3} {
		if n := g.count(`SELECT (SELECT count(*) FROM outbox WHERE convert_from(payload, 'UTF8') LIKE $1) + (SELECT count(*) FROM events WHERE convert_from(payload, 'UTF8') LIKE $1)`, like); n != want {
			t.Errorf("%d events are like %s, want %d", n, like, want)
		}
	}
	if _, err = g.PutMember(t.Context(), vezechat.MemberChange{RoomRef: ref(g.owner, g.room), UserID: g.ann.UserID}); err != nil {
		t.Error(err)
	}
}

func TestAct_SameKeyIsOneAction(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	a := vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModBan, UserID: g.ann.UserID, Key: "k1"}
	first := g.does(a)
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModUnban, UserID: g.ann.UserID})
	if again := g.does(a); !again.Changed || again.Audit.ID != first.Audit.ID {
		t.Errorf("%+v, at first %+v", again, first)
	}
	if n := g.count(`SELECT count(*) FROM hub_sanctions WHERE banned_until > now()`); n != 0 {
		t.Error("the repetition banned once more")
	}
	a.UserID = g.bob.UserID
	_, err := g.Act(t.Context(), a)
	wantCode(t, err, vezechat.CodeConflict)
}

func TestSanctions_ToldInOrderAndFromTheBeginning(t *testing.T) {
	t.Parallel()
	var told []vezechat.ModNotice
	g := newGuild(t, postgres.Options{Notify: func(n vezechat.ModNotice) { told = append(told, n) }})
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModMute, UserID: g.ann.UserID, Until: &until})
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModBan, UserID: g.ann.UserID, Reason: "cheats"})
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModBan, UserID: g.bob.UserID})
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModUnban, UserID: g.bob.UserID})
	p, err := g.Sanctions(t.Context(), vezechat.SanctionQuery{})
	if err != nil || len(p.Sanctions) != 1 || p.Version != 4 {
		t.Fatalf("%+v, %v", p, err)
	}
	x := p.Sanctions[0]
	if x.UserID != g.ann.UserID || !x.MutedUntil.Equal(until) || !x.BannedUntil.Equal(vezechat.Forever) || x.Reason != "cheats" || x.Version != 2 {
		t.Errorf("%+v", x)
	}
	p, err = g.Sanctions(t.Context(), vezechat.SanctionQuery{After: 2, Limit: 1})
	if err != nil || len(p.Sanctions) != 1 || p.Sanctions[0].BannedUntil != nil || p.More || p.Version != 4 {
		t.Errorf("lifted ones are told, too: %+v, %v", p, err)
	}
	if len(told) != 4 || told[3].Sanction == nil || told[3].Sanction.Version != 4 {
		t.Errorf("told %+v", told)
	}
}

func TestStanding_RisesAtOnceAndStays(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	g.person("mod2", vezechat.ScopeChatModerate)
	second := g.person("mod2") // plays
	_, err := g.Act(t.Context(), vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModBan, UserID: second.UserID})
	wantCode(t, err, vezechat.CodeForbidden)
	if _, err := g.pool.Exec(t.Context(), `UPDATE users SET standing_at = now() - interval '13 hours' WHERE id = $1`, second.UserID); err != nil {
		t.Fatal(err)
	}
	g.person("mod2")
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModBan, UserID: second.UserID})
}

func TestAudit_NothingChangesIt(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModLock, RoomID: g.room})
	for _, sql := range []string{
		`UPDATE audit_log SET reason = 'none'`, `DELETE FROM audit_log`, `TRUNCATE audit_log`,
		`SET session_replication_role = replica; DELETE FROM audit_log`, `DELETE FROM guard_rules`,
	} {
		if _, err := g.pool.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if n := g.count(`SELECT count(*) FROM audit_log`); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestAudit_KicksAndRoomUpdatesAreThere(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	ctx := t.Context()
	if err := g.RemoveMember(ctx, vezechat.MemberChange{RoomRef: ref(g.keeper, g.room), UserID: g.ann.UserID}); err != nil {
		t.Fatal(err)
	}
	slow, locked := 10, true
	if _, err := g.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref(g.owner, g.room), SlowMode: &slow, Locked: &locked}); err != nil {
		t.Fatal(err)
	}
	name := "Renamed"
	if _, err := g.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref(g.owner, g.room), Name: &name, SlowMode: &slow}); err != nil {
		t.Fatal(err)
	}
	if err := g.RemoveMember(ctx, vezechat.MemberChange{RoomRef: ref(g.bob, g.room), UserID: g.bob.UserID}); err != nil { // leaves
		t.Fatal(err)
	}
	p, err := g.Audit(ctx, vezechat.AuditQuery{Caller: g.keeper, RoomID: g.room})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []vezechat.ModKind
	for _, e := range p.Entries {
		kinds = append(kinds, e.Action)
	}
	if want := []vezechat.ModKind{vezechat.ModLock, vezechat.ModSlowMode, vezechat.ModKick}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
}

func TestAudit_PagesFiltersAndWhoMay(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	ctx := t.Context()
	for i := range 5 {
		g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModSlowMode, RoomID: g.room, Seconds: i + 1})
	}
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModMute, RoomID: g.room, UserID: g.ann.UserID})
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModBan, UserID: g.eve.UserID})
	var seen []int64
	for q := (vezechat.AuditQuery{Caller: g.mod, Limit: 3}); ; {
		p, err := g.Audit(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Entries {
			seen = append(seen, e.ID)
		}
		if !p.More {
			break
		}
		q.Before = p.Entries[len(p.Entries)-1].ID
	}
	if want := []int64{7, 6, 5, 4, 3, 2, 1}; !slices.Equal(seen, want) {
		t.Errorf("pages have %v, want %v", seen, want)
	}
	for _, tt := range []struct {
		q    vezechat.AuditQuery
		n    int
		code vezechat.Code
	}{
		{vezechat.AuditQuery{Caller: g.mod, Action: vezechat.ModMute}, 1, ""},
		{vezechat.AuditQuery{Caller: g.mod, Actor: g.keeper.UserID}, 5, ""},
		{vezechat.AuditQuery{Caller: g.mod, UserID: g.eve.UserID}, 1, ""},
		{vezechat.AuditQuery{Caller: g.mod, RoomID: g.room}, 6, ""},
		{vezechat.AuditQuery{Caller: g.keeper, RoomID: g.room}, 6, ""},
		{vezechat.AuditQuery{Caller: g.keeper}, 0, vezechat.CodeForbidden},
		{vezechat.AuditQuery{Caller: g.ann, RoomID: g.room}, 0, vezechat.CodeForbidden},
		{vezechat.AuditQuery{Caller: g.eve, RoomID: g.room}, 0, vezechat.CodeNotFound},
	} {
		p, err := g.Audit(ctx, tt.q)
		wantCode(t, err, tt.code)
		if len(p.Entries) != tt.n {
			t.Errorf("%+v: %d entries, want %d", tt.q, len(p.Entries), tt.n)
		}
	}
}
