package postgres_test

import (
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// What is brought before the hub's moderators of direct messages they decide about, who are
// in none of them: that, and nothing else there.
func TestAct_WhatTheQueueShowsOfDirectMessages(t *testing.T) {
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

	id, other := w.say(ann, dm.ID, "hidden by a machine"), w.say(ann, dm.ID, "nobody's business")
	acts := []vezechat.ModKind{vezechat.ModHide, vezechat.ModRestore, vezechat.ModDelete}
	for _, k := range acts {
		refused(vezechat.ModAct{Caller: mod, Kind: k, RoomID: dm.ID, MessageID: id}, vezechat.CodeNotFound)
	}
	w.does(vezechat.ModAct{Kind: vezechat.ModHide, Guard: "classifier", RoomID: dm.ID, MessageID: id, Said: time.Now()})
	if got := texts(); !slices.Equal(got, []string{"held, and good", "nobody's business"}) {
		t.Errorf("hidden, and yet %q", got)
	}
	if page, err := w.Cases(ctx, vezechat.CaseQuery{Caller: mod}); err != nil || len(page.Cases) != 1 {
		t.Fatalf("the guard's case: %+v, %v", page, err)
	}
	for _, k := range acts {
		refused(vezechat.ModAct{Caller: eve, Kind: k, RoomID: dm.ID, MessageID: id}, vezechat.CodeNotFound)
		refused(vezechat.ModAct{Caller: bob, Kind: k, RoomID: dm.ID, MessageID: id}, vezechat.CodeForbidden)
		refused(vezechat.ModAct{Caller: mod, Kind: k, RoomID: dm.ID, MessageID: other}, vezechat.CodeNotFound)
	}
	w.does(vezechat.ModAct{Caller: mod, Kind: vezechat.ModRestore, RoomID: dm.ID, MessageID: id})
	if got := texts(); len(got) != 3 {
		t.Errorf("after it was given back: %q", got)
	}
	w.does(vezechat.ModAct{Caller: mod, Kind: vezechat.ModHide, RoomID: dm.ID, MessageID: id}) // they think again
	if got := texts(); len(got) != 2 {
		t.Errorf("hidden again: %q", got)
	}

	// A complaint of somebody who is in them brings it before moderators, too.
	if err := w.Report(ctx, vezechat.Report{MessageRef: vezechat.MessageRef{RoomRef: ref(bob, dm.ID), MessageID: other}, Reason: "rude"}); err != nil {
		t.Fatal(err)
	}
	w.does(vezechat.ModAct{Caller: mod, Kind: vezechat.ModDelete, RoomID: dm.ID, MessageID: other})
	if got := texts(); len(got) != 1 {
		t.Errorf("deleted: %q", got)
	}
	if res := w.count(`SELECT count(*) FROM audit_log WHERE room_id = $1 AND actor_id = $2`, dm.ID, mod.UserID); res < 5 {
		t.Errorf("%d of what was done is in the audit log", res)
	}
	refused(vezechat.ModAct{Caller: mod, Kind: vezechat.ModMute, RoomID: dm.ID, UserID: ann.UserID}, vezechat.CodeNotFound)
	refused(vezechat.ModAct{Caller: mod, Kind: vezechat.ModLock, RoomID: dm.ID}, vezechat.CodeNotFound)
}
