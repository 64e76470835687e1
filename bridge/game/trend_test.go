package game_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/game"
)

// trends lets "cs" say trends within small limits.
func trends(c *game.Config) { c.Trends, c.RoomsPerHour, c.LinesPerMinute = []string{"cs"}, 2, 40 }

// reasons are why letters are among the dead ones.
func (w *world) reasons() (list []string) {
	w.t.Helper()
	st, err := w.bus.JetStream().Stream(w.t.Context(), vezechat.StreamDLQ)
	if err != nil {
		w.t.Fatal(err)
	}
	for seq := uint64(1); seq <= st.CachedInfo().State.LastSeq; seq++ {
		m, err := st.GetMsg(w.t.Context(), seq)
		if err != nil {
			w.t.Fatal(err)
		}
		var l vezechat.DeadLetter
		if err := json.Unmarshal(m.Data, &l); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, l.Reason)
	}
	return list
}

func trend(room, text string) string {
	return fmt.Sprintf(`{"type":"trend","room":%q,"text":%q}`, room, text)
}

// A trend makes its room, which all see and nobody else fills, and its lines are there
// once and in order although bridges die and answers are lost.
func TestTrend_FillsARoomOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.rnd = rand.New(rand.NewPCG(3, 4))
	stop := w.bridge(trends)
	var want []string
	for i := range 30 {
		for range 1 + i%2 {
			w.say("trends", fmt.Sprint(i), trend("#quantum-alerts", fmt.Sprint("alert ", i)))
		}
		want = append(want, fmt.Sprint("alert ", i))
		if i%10 == 9 {
			stop()
			stop = w.bridge(trends)
		}
	}
	said := func() (all []string) {
		for _, lines := range w.lines() {
			all = append(all, lines...)
		}
		return all
	}
	until(t, "all alerts", func() bool { return len(said()) >= len(want) })
	if got := said(); !slices.Equal(got, want) {
		t.Errorf("said were %q", got)
	}
	if got := w.reasons(); len(got) != 0 {
		t.Errorf("dead letters: %q", got)
	}
	u, err := w.EnsureUser(t.Context(), vezechat.Identity{Issuer: "test", Subject: "zoe", Handle: "zoe"})
	if err != nil {
		t.Fatal(err)
	}
	zoe := vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
	rooms, err := w.Client.Rooms(t.Context(), vezechat.RoomQuery{Caller: zoe})
	if err != nil || len(rooms) != 1 || rooms[0].Name != "#quantum-alerts" || rooms[0].Kind != vezechat.KindGlobal || !rooms[0].Locked {
		t.Errorf("the rooms are %+v, %v", rooms, err)
	}
}

// What is not allowed, or over a limit, is among the dead letters with the reason.
func TestTrend_Limits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bridge(trends, func(c *game.Config) { c.LinesPerMinute = 3 })
	admin, err := w.EnsureUser(t.Context(), vezechat.Identity{Issuer: "test", Subject: "admin", Handle: "admin", Scopes: vezechat.Scopes{vezechat.ScopeChatAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	chief := vezechat.Caller{UserID: admin.ID, Handle: admin.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeChatAdmin}}
	if _, err := w.CreateRoom(t.Context(), vezechat.CreateRoom{Caller: chief, Name: "#lobby", Kind: vezechat.KindGlobal}); err != nil {
		t.Fatal(err)
	}
	n := 0
	say := func(match, body string) { n++; w.say(match, fmt.Sprint("id-", n), body) }
	for _, name := range []string{"no-hash", "#", "#a", "#Big", "#a--b", "#-ab", "#a b", "#" + strings.Repeat("x", 40)} {
		say("trends", trend(name, "x"))
	}
	say("elsewhere", trend("#one", "x"))
	say("trends", trend("#lobby", "mine now"))
	for _, name := range []string{"#one", "#two", "#three"} {
		say("trends", trend(name, "hello"))
	}
	until(t, "eleven dead letters", func() bool { return len(w.reasons()) >= 11 })
	if got := w.reasons(); len(got) != 11 || !strings.Contains(got[10], "2 rooms of this hour") && !slices.ContainsFunc(got, func(r string) bool { return strings.Contains(r, "2 rooms of this hour") }) {
		t.Errorf("the reasons are %q", got)
	}
	for range 8 { // over two minutes at most six of them
		say("trends", trend("#one", "again"))
	}
	until(t, "some are over the limit", func() bool {
		return slices.ContainsFunc(w.reasons(), func(r string) bool { return strings.Contains(r, "3 lines of this minute") })
	})
	rooms, err := w.Client.Rooms(t.Context(), vezechat.RoomQuery{Caller: chief})
	if err != nil || len(rooms) != 3 {
		t.Errorf("%d rooms, %v", len(rooms), err)
	}
	one := rooms[slices.IndexFunc(rooms, func(r vezechat.Room) bool { return r.Name == "#one" })]
	if err := w.ArchiveRoom(t.Context(), vezechat.RoomRef{Caller: chief, RoomID: one.ID}); err != nil {
		t.Fatal(err)
	}
	say("trends", trend("#one", "too late"))
	until(t, "nothing is said in an archived room", func() bool {
		return slices.ContainsFunc(w.reasons(), func(r string) bool { return strings.Contains(r, "is archived") })
	})
}

// Who is not named says no trends.
func TestTrend_OfTheNamedAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bridge()
	w.say("trends", "1", trend("#quantum-alerts", "x"))
	until(t, "a dead letter", func() bool { return len(w.reasons()) == 1 })
	if got := w.reasons()[0]; !strings.Contains(got, "may not say trends") || len(w.lines()) != 0 {
		t.Errorf("%s, lines %v", got, w.lines())
	}
}
