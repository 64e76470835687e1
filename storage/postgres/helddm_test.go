package postgres_test

import (
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// What guards take from direct messages the hub's moderators can give back, who are in none
// of them: that, and nothing else there.
func TestAct_GivesBackInDirectMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann, bob, eve, mod := w.person("ann"), w.person("bob"), w.person("eve"), w.person("mod", vezechat.ScopeChatModerate)
	dm, err := w.OpenDM(ctx, vezechat.OpenDM{Caller: ann, To: vezechat.UserQuery{ID: bob.UserID}})
	if err != nil {
		t.Fatal(err)
	}
	w.echo()
	texts := func() (out []string) {
		page, err := w.Messages(ctx, vezechat.History{RoomRef: ref(bob, dm.ID)})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Messages {
			if m.Text != "" {
				out = append(out, m.Text)
			}
		}
		return out
	}
	refused := func(a vezechat.ModAct, want vezechat.Code) {
		t.Helper()
		_, err := w.Act(ctx, a)
		wantCode(t, err, want)
	}
	hold := func(text string) int64 {
		h, err := w.Hold(ctx, vezechat.HoldMessage{Caller: ann, RoomID: dm.ID, Text: text})
		if err != nil {
			t.Fatal(err)
		}
		return h.ID
	}

	good, bad := hold("held, and good"), hold("held, and bad")
	refused(vezechat.ModAct{Caller: eve, Kind: vezechat.ModApprove, HeldID: good}, vezechat.CodeNotFound)
	refused(vezechat.ModAct{Caller: bob, Kind: vezechat.ModApprove, HeldID: good}, vezechat.CodeForbidden)
	refused(vezechat.ModAct{Caller: ann, Kind: vezechat.ModApprove, HeldID: good}, vezechat.CodeForbidden)
	w.does(vezechat.ModAct{Caller: mod, Kind: vezechat.ModApprove, HeldID: good})
	w.does(vezechat.ModAct{Caller: mod, Kind: vezechat.ModReject, HeldID: bad})
	if got := texts(); !slices.Equal(got, []string{"held, and good"}) {
		t.Errorf("said were %q", got)
	}

	id := w.say(ann, dm.ID, "hidden by a machine")
	w.does(vezechat.ModAct{Kind: vezechat.ModHide, Guard: "classifier", RoomID: dm.ID, MessageID: id, Said: time.Now()})
	if got := texts(); len(got) != 1 {
		t.Errorf("hidden, and yet %q", got)
	}
	restore := vezechat.ModAct{Caller: mod, Kind: vezechat.ModRestore, RoomID: dm.ID, MessageID: id}
	if page, err := w.Cases(ctx, vezechat.CaseQuery{Caller: mod}); err != nil || len(page.Cases) != 1 {
		t.Fatalf("the guard's case: %+v, %v", page, err)
	}
	refused(vezechat.ModAct{Caller: mod, Kind: vezechat.ModDelete, RoomID: dm.ID, MessageID: id}, vezechat.CodeNotFound)
	refused(vezechat.ModAct{Caller: mod, Kind: vezechat.ModHide, RoomID: dm.ID, MessageID: id}, vezechat.CodeNotFound)
	refused(vezechat.ModAct{Caller: eve, Kind: vezechat.ModRestore, RoomID: dm.ID, MessageID: id}, vezechat.CodeNotFound)
	refused(vezechat.ModAct{Caller: bob, Kind: vezechat.ModRestore, RoomID: dm.ID, MessageID: id}, vezechat.CodeForbidden)
	w.does(restore)
	if got := texts(); !slices.Equal(got, []string{"held, and good", "hidden by a machine"}) {
		t.Errorf("after it was given back: %q", got)
	}
	// What nobody has brought before them is none of theirs.
	refused(restore, vezechat.CodeNotFound)
}
