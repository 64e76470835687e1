package edge_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// desk is a Poster on a fake hub.
type desk struct {
	*edge.Poster
	hub   *fakeHub
	clock *clock
	reg   *prometheus.Registry
}

func newDesk(l edge.Limits) *desk {
	d := &desk{clock: &clock{at: start}, reg: prometheus.NewRegistry()}
	d.hub = newFakeHub(d.clock.Now)
	d.Poster = edge.NewPoster(edge.PosterConfig{Log: d.hub, Rooms: d.hub, Messages: d.hub, Moderation: d.hub, Limits: l, Now: d.clock.Now, Registerer: d.reg})
	return d
}

func member(id vezechat.UserID, more ...vezechat.Scope) vezechat.Caller {
	return vezechat.Caller{UserID: id, Handle: fmt.Sprintf("@u%d", id), Scopes: append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}, more...)}
}

func (d *desk) access(c vezechat.Caller, room vezechat.RoomID) vezechat.Access {
	d.hub.mu.Lock()
	defer d.hub.mu.Unlock()
	_, acc, _ := d.hub.access(vezechat.RoomRef{Caller: c, RoomID: room}, vezechat.ActionSee)
	return acc
}

func (d *desk) send(c vezechat.Caller, room vezechat.RoomID, text, nonce string) (vezechat.Ack, error) {
	return d.Send(context.Background(), edge.Send{Caller: c, Access: d.access(c, room), Text: text, Nonce: nonce, Recall: true})
}

func wantCode(t *testing.T, what string, err error, want vezechat.Code) {
	t.Helper()
	if got := vezechat.CodeOf(err); got != want {
		t.Errorf("%s: %v, want code %q", what, err, want)
	}
}

func TestPoster_OneNonceIsOneMessage(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	first, err := d.send(member(1), 2, "one", "n")
	must(t, err)
	again, err := d.send(member(1), 2, "one", "n")
	must(t, err)
	d.hub.forget() // the log's window is over
	late, err := d.send(member(1), 2, "one", "n")
	must(t, err)
	if first.Duplicate || !again.Duplicate || !late.Duplicate || again.Seq != first.Seq || late.Seq != first.Seq || d.hub.appended() != 1 {
		t.Errorf("%+v %+v %+v, %d entries", first, again, late, d.hub.appended())
	}
	for name, f := range map[string]func() (vezechat.Ack, error){
		"another user":  func() (vezechat.Ack, error) { return d.send(member(2), 2, "one", "n") },
		"another room":  func() (vezechat.Ack, error) { return d.send(member(1), 1, "one", "n") },
		"another nonce": func() (vezechat.Ack, error) { return d.send(member(1), 2, "one", "m") },
		"no nonce":      func() (vezechat.Ack, error) { return d.send(member(1), 2, "one", "") },
	} {
		if ack, err := f(); err != nil || ack.Duplicate {
			t.Errorf("%s: %+v %v", name, ack, err)
		}
	}
	d.hub.asked["MessageByNonce"] = 0
	_, err = d.Send(context.Background(), edge.Send{Caller: member(1), Access: d.access(member(1), 2), Text: "x", Nonce: "fast"})
	must(t, err)
	if d.hub.asked["MessageByNonce"] != 0 {
		t.Error("storage was asked without Recall")
	}
}

func TestPoster_LogAway(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{User: edge.Rate{Every: time.Hour, Burst: 1}, Room: edge.Rate{Every: time.Hour, Burst: 1}})
	d.hub.logErr = vezechat.Errorf(vezechat.CodeUnavailable, "no acknowledgement")
	_, err := d.send(member(1), 2, "x", "n")
	wantCode(t, "away", err, vezechat.CodeUnavailable)
	d.hub.logErr = nil
	// The same nonce is the same message: no limit stands in its way.
	if ack, err := d.send(member(1), 2, "x", "n"); err != nil || ack.Duplicate {
		t.Errorf("again: %+v %v", ack, err)
	}
	_, err = d.send(member(1), 2, "y", "m")
	wantCode(t, "another one", err, vezechat.CodeRateLimited)
}

func TestPoster_StorageAwayIsToldBeforeTheLogIsAsked(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	acc := d.access(member(1), 2)
	d.hub.err = vezechat.Errorf(vezechat.CodeUnavailable, "away")
	_, err := d.Send(context.Background(), edge.Send{Caller: member(1), Access: acc, Text: "x", Nonce: "n", Recall: true})
	wantCode(t, "recall", err, vezechat.CodeUnavailable)
	if _, err := d.Send(context.Background(), edge.Send{Caller: member(1), Access: acc, Text: "x", Nonce: "n"}); err != nil {
		t.Errorf("without recall the log is enough: %v", err)
	}
}

func TestPoster_SendChecks(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	_, err := d.send(member(1), 2, "first", "")
	must(t, err)
	d.hub.rooms[1].muted[2] = start.Add(time.Minute)
	archived := d.hub.room("Old", vezechat.KindGuild, map[vezechat.UserID]vezechat.Role{1: vezechat.RoleOwner})
	archived.ArchivedAt = new(start)
	locked := d.hub.room("Locked", vezechat.KindGuild, map[vezechat.UserID]vezechat.Role{1: vezechat.RoleOwner, 2: vezechat.RoleMember})
	locked.Locked = true
	reader := vezechat.Caller{UserID: 1, Handle: "@a", Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}
	for _, tc := range []struct {
		name string
		c    vezechat.Caller
		room vezechat.RoomID
		s    edge.Send
		want vezechat.Code
	}{
		{"fine", member(1), 2, edge.Send{Text: "x"}, ""},
		{"fine reply", member(1), 2, edge.Send{Text: "x", ReplyTo: 1}, ""},
		{"stranger", member(3), 2, edge.Send{Text: "x"}, vezechat.CodeNotFound},
		{"no such room", member(1), 99, edge.Send{Text: "x"}, vezechat.CodeNotFound},
		{"muted", member(2), 2, edge.Send{Text: "x"}, vezechat.CodeMuted},
		{"reader", reader, 2, edge.Send{Text: "x"}, vezechat.CodeForbidden},
		{"archived", member(1), 3, edge.Send{Text: "x"}, vezechat.CodeConflict},
		{"locked", member(2), 4, edge.Send{Text: "x"}, vezechat.CodeForbidden},
		{"locked, its owner", member(1), 4, edge.Send{Text: "x"}, ""},
		{"another's access", member(2), 0, edge.Send{Text: "x", Access: d.access(member(1), 2)}, vezechat.CodeNotFound},
		{"empty", member(1), 2, edge.Send{Text: " \n"}, vezechat.CodeBadRequest},
		{"too long", member(1), 2, edge.Send{Text: strings.Repeat("é", vezechat.MaxText+1)}, vezechat.CodeTooLarge},
		{"bad nonce", member(1), 2, edge.Send{Text: "x", Nonce: "a b"}, vezechat.CodeBadRequest},
		{"long nonce", member(1), 2, edge.Send{Text: "x", Nonce: strings.Repeat("n", 65)}, vezechat.CodeTooLarge},
		{"reply to nothing", member(1), 2, edge.Send{Text: "x", ReplyTo: 77}, vezechat.CodeBadRequest},
		{"reply into another room", member(1), 1, edge.Send{Text: "x", ReplyTo: 1}, vezechat.CodeBadRequest},
	} {
		before := d.hub.appended()
		tc.s.Caller = tc.c
		if tc.room != 0 {
			tc.s.Access = d.access(tc.c, tc.room)
		}
		_, err := d.Send(context.Background(), tc.s)
		wantCode(t, tc.name, err, tc.want)
		if done := d.hub.appended() - before; done > 1 || (done == 1) != (tc.want == "") {
			t.Errorf("%s: %d events", tc.name, done)
		}
	}
	var e *vezechat.Error
	_, err = d.send(member(2), 2, "x", "")
	if !errors.As(err, &e) || e.RetryAfter != time.Minute {
		t.Errorf("muted for a minute: %v", err)
	}
}

func TestPoster_Changes(t *testing.T) {
	t.Parallel()
	owner, author, other, staff := member(1), member(2), member(3), member(4, vezechat.ScopeChatModerate)
	type do func(d *desk, c edge.Change) (vezechat.Ack, error)
	ctx := context.Background()
	edit := func(d *desk, c edge.Change) (vezechat.Ack, error) { return d.Edit(ctx, c, "new") }
	del := func(d *desk, c edge.Change) (vezechat.Ack, error) { return d.Delete(ctx, c) }
	react := func(d *desk, c edge.Change) (vezechat.Ack, error) { return d.React(ctx, c, "🚀", true) }
	unreact := func(d *desk, c edge.Change) (vezechat.Ack, error) { return d.React(ctx, c, "🚀", false) }
	mute := func(d *desk) { d.hub.rooms[1].muted[2] = start.Add(time.Minute) }
	archive := func(d *desk) { d.hub.rooms[1].ArchivedAt = new(start) }
	deleted := func(d *desk) { d.hub.rooms[1].messages[0].Deleted = true }
	hidden := func(d *desk) { d.hub.rooms[1].messages[0].Hidden = true }
	for _, tc := range []struct {
		name  string
		do    do
		c     vezechat.Caller
		setup func(d *desk)
		want  vezechat.Code
		event vezechat.EventType
	}{
		{"author edits", edit, author, nil, "", vezechat.EventMessageEdited},
		{"owner edits another's", edit, owner, nil, vezechat.CodeForbidden, ""},
		{"staff edits another's", edit, staff, nil, vezechat.CodeForbidden, ""},
		{"stranger edits", edit, other, nil, vezechat.CodeNotFound, ""},
		{"muted author edits", edit, author, mute, vezechat.CodeMuted, ""},
		{"author edits a deleted one", edit, author, deleted, vezechat.CodeConflict, ""},
		{"author edits a hidden one", edit, author, hidden, vezechat.CodeConflict, ""},
		{"author deletes", del, author, nil, "", vezechat.EventMessageDeleted},
		{"muted author deletes", del, author, mute, "", vezechat.EventMessageDeleted},
		{"author deletes in an archived room", del, author, archive, vezechat.CodeConflict, ""},
		{"owner deletes another's", del, owner, nil, "", vezechat.EventMessageDeleted},
		{"staff deletes another's", del, staff, nil, "", vezechat.EventMessageDeleted},
		{"stranger deletes", del, other, nil, vezechat.CodeNotFound, ""},
		{"author deletes again", del, author, deleted, "", ""},
		{"member reacts", react, owner, nil, "", vezechat.EventReactionAdded},
		{"member takes it back", unreact, owner, nil, "", vezechat.EventReactionRemoved},
		{"stranger reacts", react, other, nil, vezechat.CodeNotFound, ""},
		{"muted member reacts", react, author, mute, vezechat.CodeMuted, ""},
		{"member reacts to a hidden one", react, owner, hidden, vezechat.CodeConflict, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(edge.Limits{})
			d.hub.rooms[1].members[4] = vezechat.RoleMember
			_, err := d.send(author, 2, "old", "")
			must(t, err)
			if tc.setup != nil {
				tc.setup(d)
			}
			_, err = tc.do(d, edge.Change{Caller: tc.c, Access: d.access(tc.c, 2), MessageID: 1})
			wantCode(t, "", err, tc.want)
			entry, e := d.hub.last()
			if tc.event == "" {
				if d.hub.appended() != 1 {
					t.Errorf("appended %s", entry.Payload)
				}
				return
			}
			if e.Type != tc.event || e.MessageID != 1 || e.RoomID != 2 {
				t.Errorf("event %s", entry.Payload)
			}
			if tc.event == vezechat.EventMessageDeleted && (e.UserID != 2 || (e.By != 0) != (tc.c.UserID != 2)) {
				t.Errorf("who deleted whose: %s", entry.Payload)
			}
			for i := range len(entry.ID) {
				if entry.ID[i] <= ' ' || entry.ID[i] > '~' {
					t.Errorf("ID %q is not fit for a header", entry.ID)
				}
			}
		})
	}
}

func TestPoster_SameReactionTwiceIsTwoEntriesUnlessRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	_, err := d.send(member(1), 2, "x", "")
	must(t, err)
	c := edge.Change{Caller: member(2), Access: d.access(member(2), 2), MessageID: 1}
	ids := map[string]bool{}
	for _, add := range []bool{true, false, true} { // on, off, on: each must get through
		_, err := d.React(context.Background(), c, "❤️", add)
		must(t, err)
		e, _ := d.hub.last()
		ids[e.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("IDs %v", ids)
	}
	c.Nonce = "k"
	for range 2 {
		_, err := d.React(context.Background(), c, "❤️", true)
		must(t, err)
	}
	if n := d.hub.appended(); n != 5 {
		t.Errorf("%d entries, want 5", n)
	}
}

func TestPoster_Rates(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{User: edge.Rate{Every: time.Second, Burst: 5}, Room: edge.Rate{Every: 2 * time.Second, Burst: 3}})
	ok := func(what string, c vezechat.Caller, room vezechat.RoomID) {
		t.Helper()
		if _, err := d.send(c, room, "x", ""); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	limited := func(what string, c vezechat.Caller, room vezechat.RoomID, after time.Duration) {
		t.Helper()
		_, err := d.send(c, room, "x", "")
		var e *vezechat.Error
		if !errors.As(err, &e) || e.Code != vezechat.CodeRateLimited || e.RetryAfter != after {
			t.Errorf("%s: %v (after %v), want rate_limited after %s", what, err, e, after)
		}
	}
	for range 3 {
		ok("burst in the room", member(2), 2)
	}
	limited("fourth in the room", member(2), 2, 2*time.Second)
	ok("another room", member(2), 1)
	ok("another room again", member(2), 1)
	limited("sixth of the user", member(2), 1, time.Second)
	ok("another user", member(1), 2)
	for range 20 {
		ok("staff", member(1, vezechat.ScopeChatModerate), 2)
	}
	d.clock.Add(time.Second)
	ok("after RetryAfter", member(2), 1)
	limited("at once again", member(2), 1, time.Second)
	d.clock.Add(time.Second)
	ok("in the first room, after its own", member(2), 2)
	d.clock.Add(time.Hour)
	for range 3 {
		ok("a burst, no more, after an hour", member(2), 2)
	}
	limited("and then", member(2), 2, 2*time.Second)
	_, err := d.Edit(context.Background(), edge.Change{Caller: member(2), Access: d.access(member(2), 2), MessageID: 1}, "y")
	wantCode(t, "edits count too", err, vezechat.CodeRateLimited)
}

func TestPoster_SlowMode(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	d.hub.rooms[1].SlowMode = 30
	ack, err := d.send(member(2), 2, "one", "n1")
	must(t, err)
	d.clock.Add(10 * time.Second)
	_, err = d.send(member(2), 2, "two", "n2")
	var e *vezechat.Error
	if !errors.As(err, &e) || e.Code != vezechat.CodeSlowMode || e.RetryAfter != 20*time.Second {
		t.Fatalf("second: %v", err)
	}
	// A client that did not hear the answer asks again, and is told.
	if again, err := d.send(member(2), 2, "one", "n1"); err != nil || again.Seq != ack.Seq || !again.Duplicate {
		t.Errorf("repeated: %+v %v", again, err)
	}
	if _, err = d.Edit(context.Background(), edge.Change{Caller: member(2), Access: d.access(member(2), 2), MessageID: ack.Seq}, "uno"); err != nil {
		t.Errorf("an edit is not a message: %v", err)
	}
	if _, err := d.send(member(1), 2, "x", ""); err != nil {
		t.Errorf("another member: %v", err)
	}
	for range 3 {
		if _, err := d.send(member(2, vezechat.ScopeChatModerate), 2, "x", ""); err != nil {
			t.Errorf("staff: %v", err)
		}
	}
	d.clock.Add(20 * time.Second)
	// What is refused for another reason does not start the clock.
	_, err = d.Send(context.Background(), edge.Send{Caller: member(2), Access: d.access(member(2), 2), Text: "x", ReplyTo: 99})
	wantCode(t, "reply to nothing", err, vezechat.CodeBadRequest)
	if _, err := d.send(member(2), 2, "two", "n2"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

// TestPoster_LimiterIsBounded floods it with users: it forgets the longest idle
// ones, counts that, and stays as large as it was told.
func TestPoster_LimiterIsBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{User: edge.Rate{Every: time.Hour, Burst: 1}, Room: edge.Rate{Every: time.Hour, Burst: 1}, Max: 100})
	for i := range 1000 {
		d.hub.rooms[0].members[vezechat.UserID(i+1)] = vezechat.RoleMember
		if _, err := d.send(member(vezechat.UserID(i+1)), 1, "x", ""); err != nil {
			t.Fatalf("user %d: %v", i+1, err)
		}
	}
	_, err := d.send(member(1000), 1, "x", "")
	wantCode(t, "the last user is remembered", err, vezechat.CodeRateLimited)
	if _, err := d.send(member(1), 1, "x", ""); err != nil {
		t.Errorf("the first is forgotten: %v", err)
	}
	mfs, err := d.reg.Gather()
	must(t, err)
	for _, mf := range mfs {
		if mf.GetName() == "vezechat_edge_limiter_evictions_total" {
			if n := mf.GetMetric()[0].GetCounter().GetValue(); n < 1900 {
				t.Errorf("%v evictions counted", n)
			}
			return
		}
	}
	t.Error("evictions are not counted")
}

func TestMessages_OverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := with(w.as(alice), "Idempotency-Key", "key-1", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"X-QNet-Hop", "a", "X-QNet-Long", strings.Repeat("x", 257), "X-Other", "b")
	for i := range 20 {
		h.Set(fmt.Sprintf("X-QNet-Many-%02d", i), "v")
	}
	first := w.do("POST", "/rooms/2/messages", h, `{"text":"hello"}`)
	if first.status != 201 || first.header.Get("Location") != "/rooms/2/messages/1" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	entry, e := w.hub.last()
	if e.Trace == nil || e.Trace.Traceparent != h.Get("Traceparent") || len(e.Trace.QNet) != 16 || entry.Trace.Traceparent != e.Trace.Traceparent {
		t.Errorf("trace %+v", e.Trace)
	}
	if _, long := e.Trace.QNet["X-Qnet-Long"]; long {
		t.Error("a header over the bound was kept")
	}
	w.hub.forget()
	again := w.do("POST", "/rooms/2/messages", h, `{"text":"hello"}`)
	var a struct {
		ID        int
		Duplicate bool
	}
	again.json(t, &a)
	if again.status != 201 || a.ID != 1 || !a.Duplicate || w.hub.appended() != 1 {
		t.Errorf("again: %d %s", again.status, again.body)
	}
	w.hub.logErr = vezechat.Errorf(vezechat.CodeUnavailable, "no acknowledgement")
	if away := w.do("POST", "/rooms/2/messages", w.as(alice), `{"text":"x"}`); away.status != 503 || away.header.Get("Retry-After") != "1" {
		t.Errorf("the log is away: %d %v", away.status, away.header)
	}
}

func TestMessages_ActAs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	service := w.as("game-server", vezechat.ScopeChatActAs)
	for _, tc := range []struct {
		name, body string
		header     http.Header
		status     int
		user       vezechat.UserID
	}{
		{"by id", `{"text":"x","user_id":2}`, service, 201, 2},
		{"by handle", `{"text":"x","handle":"@bob"}`, service, 201, 2},
		{"somebody not in the room", `{"text":"x","user_id":3}`, service, 404, 0},
		{"nobody", `{"text":"x","handle":"@nobody"}`, service, 400, 0},
		{"itself, not in the room", `{"text":"x"}`, service, 404, 0},
		{"without the scope", `{"text":"x","user_id":2}`, w.as(alice), 403, 0},
		{"admin without the scope", `{"text":"x","handle":"bob"}`, w.as(alice, vezechat.ScopeChatAdmin), 403, 0},
		{"oneself", `{"text":"x","user_id":1,"handle":"alice"}`, w.as(alice), 201, 1},
	} {
		before := w.hub.appended()
		a := w.do("POST", "/rooms/2/messages", tc.header, tc.body)
		if a.status != tc.status {
			t.Errorf("%s: %d %s", tc.name, a.status, a.body)
		}
		if tc.user == 0 {
			if w.hub.appended() != before {
				t.Errorf("%s: appended", tc.name)
			}
			continue
		}
		if _, e := w.hub.last(); e.UserID != tc.user || (e.By != 0) != (tc.user == 2) {
			t.Errorf("%s: %+v", tc.name, e)
		}
	}
}

func BenchmarkPoster_Send(b *testing.B) {
	d := newDesk(edge.DefaultLimits())
	c := member(1, vezechat.ScopeChatModerate)
	acc := d.access(c, 2)
	d.hub.rooms[1].messages = nil
	p := edge.NewPoster(edge.PosterConfig{Log: nowhere{}, Messages: d.hub, Now: time.Now, Registerer: prometheus.NewRegistry(), Limits: edge.DefaultLimits()})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Send(context.Background(), edge.Send{Caller: c, Access: acc, Text: "Warp gate online", Nonce: "n"}); err != nil {
			b.Fatal(err)
		}
	}
}

type nowhere struct{}

func (nowhere) Append(context.Context, vezechat.Entry) (vezechat.Ack, error) {
	return vezechat.Ack{Seq: 1}, nil
}

// A message has a bounded number of different reactions; those it has can still be
// joined, and taken away.
func TestPoster_ReactionsHaveABound(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	_, err := d.send(member(1), 2, "x", "")
	must(t, err)
	for _, room := range d.hub.rooms {
		for _, m := range room.messages {
			for i := range vezechat.MaxReactions {
				m.Reactions = append(m.Reactions, vezechat.Reaction{Emoji: string(rune('🌀' + i)), Count: 1})
			}
		}
	}
	c := edge.Change{Caller: member(2), Access: d.access(member(2), 2), MessageID: 1}
	_, err = d.React(context.Background(), c, "🚀", true)
	if vezechat.CodeOf(err) != vezechat.CodeTooLarge {
		t.Errorf("one more: %v", err)
	}
	_, err = d.React(context.Background(), c, "🌀", true)
	must(t, err)
	_, err = d.React(context.Background(), c, "🚀", false)
	must(t, err)
	if _, err = d.React(context.Background(), c, "idiot", true); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Errorf("a word: %v", err)
	}
}
