package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// expire erases all that is too old of a kind, and returns how many messages that were.
func (w *world) expire(kind vezechat.RoomKind, before time.Time) (erased int) {
	w.t.Helper()
	at := vezechat.Expire{Kind: kind, Before: before}
	for range 100 {
		done, err := w.Expire(w.t.Context(), at)
		if err != nil {
			w.t.Fatal(err)
		}
		at.RoomID, at.After = done.RoomID, done.After
		if erased += done.Messages; done.Done {
			return erased
		}
	}
	w.t.Fatal("it does not end")
	return 0
}

// old is something that was said days ago.
func old(e vezechat.Event, days int) vezechat.Event {
	e.At = time.Now().Add(-time.Duration(days) * 24 * time.Hour)
	return e
}

// What is too old goes, with all that hangs on it; what is not stays readable, and who
// comes back from before is told so.
func TestExpire_TakesWhatHangsOnIt(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	ctx := t.Context()
	message := func(text string, days int) vezechat.MessageID { return g.store(old(said(g.ann, g.room, text), days)) }
	about := func(kind vezechat.EventType, id vezechat.MessageID, text string, days int) {
		e := vezechat.Event{Type: kind, RoomID: g.room, MessageID: id, UserID: g.ann.UserID, Handle: g.ann.Handle, Text: text}
		if kind == vezechat.EventReactionAdded {
			e.Emoji = "👍"
		}
		g.store(old(e, days))
	}
	first := message("ancient secret", 30)
	about(vezechat.EventReactionAdded, first, "", 30)
	reported := message("ancient quarrel", 30)
	looked := message("ancient complaint", 30)
	for _, id := range []vezechat.MessageID{reported, looked} {
		if err := g.Report(ctx, vezechat.Report{MessageRef: vezechat.MessageRef{RoomRef: ref(g.bob, g.room), MessageID: id}, Reason: "quarrelsome"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1100 {
		message(fmt.Sprintf("ancient %d", i), 20)
	}
	g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModHide, RoomID: g.room, MessageID: looked}) // its case is done
	young := message("a young answer", 1)
	about(vezechat.EventMessageEdited, first, "an ancient secret, told once more", 1)
	about(vezechat.EventReactionAdded, young, "", 1)
	rest := g.room
	g.room = g.world.room(g.owner, vezechat.KindParty, "Party")
	g.store(old(said(g.owner, g.room, "ancient, of a party"), 30))
	g.room = rest

	before := time.Now().Add(-7 * 24 * time.Hour)
	n, err := g.CountExpiring(ctx, vezechat.KindGuild, before)
	if err != nil || n != (vezechat.RetentionCount{Due: 1102, Kept: 1, All: 1104}) {
		t.Errorf("counted %+v, %v", n, err)
	}
	if got := g.expire(vezechat.KindGuild, before); got != 1102 {
		t.Errorf("erased %d messages", got)
	}
	if got := g.expire(vezechat.KindGuild, before); got != 0 {
		t.Errorf("erased %d messages once more", got)
	}
	page, err := g.Messages(ctx, vezechat.History{RoomRef: ref(g.ann, g.room)})
	if err != nil || page.More || len(page.Messages) != 2 || page.Messages[0].ID != reported || page.Messages[1].ID != young || len(page.Messages[1].Reactions) != 1 {
		t.Errorf("left are %+v, %v", page, err)
	}
	if page, err := g.Messages(ctx, vezechat.History{RoomRef: ref(g.ann, g.room), After: first}); err != nil || len(page.Messages) != 2 {
		t.Errorf("after what is gone: %+v, %v", page, err)
	}
	if got := g.reads(g.bob, "secret") + g.everything(); strings.Contains(got, "secret") || strings.Contains(got, "complaint") || strings.Contains(got, "ancient 7") {
		t.Error("something of it is left")
	}
	events, err := g.Events(ctx, vezechat.EventQuery{RoomID: g.room, After: first})
	if err != nil || events.Erased <= first || events.Erased >= young {
		t.Errorf("erased up to %v, %v", events.Erased, err)
	}
	for _, table := range []string{"message_reactions", "message_decisions", "reports"} {
		if n := g.count(`SELECT count(*) FROM `+table+` WHERE room_id = $1 AND message_id NOT IN ($2, $3)`, g.room, reported, young); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	unread, err := g.Unread(ctx, g.bob)
	if i := slices.IndexFunc(unread, func(u vezechat.Unread) bool { return u.RoomID == g.room }); err != nil || i < 0 || unread[i].Count != 2 {
		t.Errorf("unread are %+v, %v", unread, err)
	}
	g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModHide, RoomID: g.room, MessageID: reported})
	if got := g.expire(vezechat.KindGuild, before); got != 1 {
		t.Errorf("when it was decided about, %d messages were erased", got)
	}
	if n := g.count(`SELECT count(*) FROM messages WHERE text = 'ancient, of a party'`); n != 1 {
		t.Error("a room of another kind was gone through")
	}
}

// A ticket's conversation is kept until it is closed, and what was held until somebody
// has decided.
func TestExpire_KeepsWhatIsOpen(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	ctx := t.Context()
	hold := func(text string) int64 {
		h, err := g.Hold(ctx, vezechat.HoldMessage{Caller: g.ann, RoomID: g.room, Text: text, Nonce: strings.ReplaceAll(text, " ", "-")})
		if err != nil {
			t.Fatal(err)
		}
		return h.ID
	}
	hold("waiting words")
	g.does(vezechat.ModAct{Caller: g.keeper, Kind: vezechat.ModReject, HeldID: hold("rejected words")})
	later := time.Now().Add(time.Hour)
	if n, err := g.ExpireHeld(ctx, vezechat.KindGuild, later); err != nil || n != 1 {
		t.Errorf("%d held messages were erased, %v", n, err)
	}
	if n, err := g.ExpireHeld(ctx, vezechat.KindGuild, later); err != nil || n != 0 {
		t.Errorf("%d held messages were erased once more, %v", n, err)
	}
	if got := g.everything(); strings.Contains(got, "rejected words") || !strings.Contains(got, "waiting words") {
		t.Error("the wrong one was erased")
	}

	ticket, err := g.CreateTicket(ctx, vezechat.CreateTicket{Caller: g.ann, Subject: "help"})
	if err != nil {
		t.Fatal(err)
	}
	g.echo()
	g.store(old(said(g.ann, ticket.Room, "my address is"), 30))
	if got := g.expire(vezechat.KindSupport, later); got != 0 {
		t.Errorf("%d messages of an open ticket were erased", got)
	}
	if _, err := g.pool.Exec(ctx, `UPDATE tickets SET status = 'closed', closed_at = now(), close_reason = 'expired' WHERE id = $1`, ticket.ID); err != nil {
		t.Fatal(err)
	}
	if got := g.expire(vezechat.KindSupport, later); got != 1 {
		t.Errorf("%d messages of a closed ticket were erased", got)
	}
}

// What the classifier does not judge in time waits for a moderator, in the queue.
func TestGiveUpJudging_LeavesItToPeople(t *testing.T) {
	t.Parallel()
	g := newGuild(t, postgres.Options{})
	ctx := t.Context()
	h, err := g.Hold(ctx, vezechat.HoldMessage{Caller: g.ann, RoomID: g.room, Text: "hello", Nonce: "n", Judge: true})
	if err != nil {
		t.Fatal(err)
	}
	cases := func() []vezechat.ModCase {
		page, err := g.Cases(ctx, vezechat.CaseQuery{Caller: g.mod})
		if err != nil {
			t.Fatal(err)
		}
		return page.Cases
	}
	if n, err := g.GiveUpJudging(ctx); n != 0 || err != nil || len(cases()) != 0 {
		t.Errorf("given up too early: %d, %v, %+v", n, err, cases())
	}
	if _, err := g.pool.Exec(ctx, `UPDATE held_messages SET judge_until = now() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	if n, err := g.GiveUpJudging(ctx); n != 1 || err != nil {
		t.Errorf("given up: %d, %v", n, err)
	}
	if list := cases(); len(list) != 1 || list[0].Kind != vezechat.CaseHeld || list[0].HeldID != h.ID || list[0].Message != vezechat.HeldWaiting {
		t.Errorf("the queue has %+v", list)
	}
	if err := g.Judge(ctx, vezechat.HeldJudgement{HeldID: h.ID, Verdict: vezechat.VerdictAllow}); err != nil {
		t.Errorf("judged too late: %v", err)
	}
	if list, err := g.Held(ctx, g.ann); err != nil || list[0].State != vezechat.HeldWaiting {
		t.Errorf("%+v, %v", list, err)
	}
	g.does(vezechat.ModAct{Caller: g.mod, Kind: vezechat.ModApprove, HeldID: h.ID})
	if len(cases()) != 0 {
		t.Error("the case is still there")
	}
}
