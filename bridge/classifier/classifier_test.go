package classifier_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/classifier"
)

// What the service finds vile is hidden from everybody, by an event that says why; it is
// in the queue with its context and in the audit log, and a moderator may show it again.
// What it finds rude stays, and is in the queue.
func TestClassifier_HidesFlagsAndIsOverruled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, mod := w.person("ann"), w.person("mod", vezechat.ScopeChatModerate)
	room := w.guild(ann, "Guild")
	w.classify()
	for _, text := range []string{"hello", "a vile thing", "a rude thing"} {
		w.say(ann, room, text)
	}
	w.idle()
	w.until("it is hidden", func() bool { return !slices.Contains(w.texts(ann, room), "a vile thing") })
	if got := w.texts(ann, room); !slices.Contains(got, "hello") || !slices.Contains(got, "a rude thing") {
		t.Errorf("left of the room is %q", got)
	}
	hidden := w.hidden(room)
	if len(hidden) != 1 || hidden[0].Reason != "toxic scored 0.97" || hidden[0].By != 0 || !slices.Equal(hidden[0].Flags, []string{"classifier"}) {
		t.Fatalf("hidden by %+v", hidden)
	}
	cases, err := w.Cases(t.Context(), vezechat.CaseQuery{Caller: mod})
	if err != nil || len(cases.Cases) != 2 {
		t.Fatalf("cases %+v, %v", cases, err)
	}
	vile := cases.Cases[slices.IndexFunc(cases.Cases, func(c vezechat.ModCase) bool { return c.MessageID == hidden[0].MessageID })]
	if vile.Message != vezechat.MessageHidden || vile.Text != "a vile thing" || len(vile.Before) != 1 || vile.Findings[0].Guard != "classifier" || vile.Findings[0].Label != "toxic" {
		t.Errorf("the case is %+v", vile)
	}
	audit, err := w.Audit(t.Context(), vezechat.AuditQuery{Caller: mod, Action: vezechat.ModHide})
	if err != nil || len(audit.Entries) != 1 || audit.Entries[0].Guard != "classifier" || audit.Entries[0].ActorID != 0 {
		t.Errorf("audit %+v, %v", audit, err)
	}
	if _, err := w.Act(t.Context(), vezechat.ModAct{Caller: mod, Kind: vezechat.ModRestore, RoomID: room, MessageID: hidden[0].MessageID}); err != nil {
		t.Fatal(err)
	}
	w.until("it is back", func() bool { return slices.Contains(w.texts(ann, room), "a vile thing") })
	if cases, err := w.Cases(t.Context(), vezechat.CaseQuery{Caller: mod}); err != nil || len(cases.Cases) != 1 {
		t.Errorf("restoring ended no case: %+v, %v", cases, err)
	}
	if body := string(w.engine.seen()); strings.Contains(body, "ann") || strings.Contains(body, "Guild") || !strings.Contains(body, `"author":1`) {
		t.Errorf("the service was sent %s", body)
	}
}

// However the service fails, messages are said; the breaker opens and spares it; and
// when it is back all that was said meanwhile is judged, each once.
func TestClassifier_NothingIsLostWhileTheServiceFails(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"slow", "500", "reset", "cut", "garbage", "scoreless", "huge", "moved"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ann := w.person("ann")
			room := w.guild(ann, "Guild")
			w.classify()
			w.engine.misbehave(mode)
			const n = 20
			for i := range n {
				w.say(ann, room, fmt.Sprintf("vile %d", i))
			}
			w.until("the breaker opens", func() bool { return w.count("breaker_opened_total", "") > 0 })
			w.until("all messages are there", func() bool { return len(w.texts(ann, room)) == n })
			w.until("one tries", func() bool { return w.count("breaker_opened_total", "") > 1 })
			w.engine.misbehave("ok")
			w.idle()
			w.until("all are hidden", func() bool { return len(w.hidden(room)) == n })
			for i := range n {
				if got := w.engine.askedOf(fmt.Sprintf("vile %d", i)); got != 1 {
					t.Errorf("message %d was judged %d times", i, got)
				}
			}
			for _, reason := range []string{"late", "failing", "refused"} {
				if w.count("skipped_total", reason) != 0 {
					t.Errorf("some were passed over as %s", reason)
				}
			}
			if w.count("breaker", "closed") != 1 {
				t.Error("the breaker is not closed")
			}
		})
	}
}

// forgetful is a queue whose process is killed after the effect and before the queue is
// told, the first times.
type forgetful struct {
	vezechat.RoomQueue
	left atomic.Int32
}

func (f *forgetful) Take(ctx context.Context, name string, atOnce int, fn func(context.Context, vezechat.Record) error) error {
	return f.RoomQueue.Take(ctx, name, atOnce, func(ctx context.Context, r vezechat.Record) error {
		err := fn(ctx, r)
		if err == nil && f.left.Add(-1) >= 0 {
			return errors.New("killed")
		}
		return err
	})
}

// Classifiers that die one after the other, in the middle of it and after it, hide each
// message once.
func TestClassifier_HidesOnceHoweverOftenItDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.person("ann")
	room := w.guild(ann, "Guild")
	const n = 30
	stop := w.classify()
	stop()
	for i := range n {
		w.say(ann, room, fmt.Sprintf("vile %d", i))
	}
	w.engine.misbehave("slow")
	stop = w.classify()
	w.until("some are asked about", func() bool { return w.engine.failures() > 3 })
	stop() // in the middle of questions
	w.engine.misbehave("ok")
	queue := &forgetful{RoomQueue: w.bus}
	queue.left.Store(n / 2)
	w.classify(func(c *classifier.Config) { c.Queue = queue })
	w.classify() // beside it
	w.idle()
	w.until("all are hidden", func() bool { return len(w.hidden(room)) >= n })
	if queue.left.Load() > 0 {
		t.Error("nothing was handed out again: this test shows nothing")
	}
	if got := len(w.hidden(room)); got != n {
		t.Errorf("%d messages were hidden %d times", n, got)
	}
}

// What a moderator has decided stands, also when the message is handed out again; what
// its author makes of it after that is judged anew.
func TestClassifier_WhatPeopleDecidedStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, mod := w.person("ann"), w.person("mod", vezechat.ScopeChatModerate)
	room := w.guild(ann, "Guild")
	stop := w.classify()
	id := w.say(ann, room, "vile, says the machine")
	w.until("it is hidden", func() bool { return len(w.hidden(room)) == 1 })
	w.idle()
	stop()
	if _, err := w.Act(t.Context(), vezechat.ModAct{Caller: mod, Kind: vezechat.ModRestore, RoomID: room, MessageID: id}); err != nil {
		t.Fatal(err)
	}
	w.until("it is back", func() bool { return slices.Contains(w.texts(ann, room), "vile, says the machine") })
	again := vezechat.ModAct{Kind: vezechat.ModHide, Guard: "classifier", RoomID: room, MessageID: id, Said: time.Now().Add(-time.Hour)}
	if res, err := w.Act(t.Context(), again); err != nil || res.Changed {
		t.Errorf("hidden again: %+v, %v", res, err)
	}
	w.classify()
	w.append(vezechat.Event{Type: vezechat.EventMessageEdited, RoomID: room, MessageID: id, UserID: ann.UserID, Handle: ann.Handle, Text: "more vile"})
	w.until("the edit is hidden", func() bool { return len(w.hidden(room)) == 2 })
}

// Direct messages are not sent, unless the rules say so; these are in force for the next
// message.
func TestClassifier_PrivateStaysPrivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob, admin := w.person("ann"), w.person("bob"), w.person("admin", vezechat.ScopeChatAdmin)
	dm, err := w.OpenDM(t.Context(), vezechat.OpenDM{Caller: ann, To: vezechat.UserQuery{ID: bob.UserID}})
	if err != nil {
		t.Fatal(err)
	}
	stop := w.classify()
	w.say(ann, dm.ID, "vile secret")
	w.idle()
	if got := w.engine.askedOf("vile secret"); got != 0 {
		t.Errorf("the service has read a direct message")
	}
	stop()
	rules := vezechat.GuardRules{Spam: vezechat.SpamLimits{Window: 1}, Classifier: new(vezechat.DefaultClassifier())}
	rules.Classifier.Rooms[vezechat.KindDM] = vezechat.ClassifyAfter
	if _, err := w.PutRules(t.Context(), vezechat.PutRules{Caller: admin, Rules: rules}); err != nil {
		t.Fatal(err)
	}
	w.classify()
	w.say(ann, dm.ID, "another vile secret")
	w.until("it is hidden", func() bool { return len(w.hidden(dm.ID)) == 1 })
}

// What cannot be judged is passed over and counted, and holds up nothing.
func TestClassifier_PassesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.person("ann")
	room := w.guild(ann, "Guild")
	var late atomic.Int64
	w.classify(func(c *classifier.Config) {
		c.Clock = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	})
	w.engine.mu.Lock()
	w.engine.poison = "crash"
	w.engine.mu.Unlock()
	w.say(ann, room, "this makes it crash")
	w.until("it crashes", func() bool { return w.engine.failures() > 0 })
	for i := 0; w.count("skipped_total", "failing") == 0; i++ {
		w.say(ann, room, fmt.Sprintf("vile %d", i))
		if time.Sleep(20 * time.Millisecond); i > 1000 {
			t.Fatal("the message that crashes the service is never passed over")
		}
	}
	w.engine.misbehave("refuses")
	w.say(ann, room, "not for it")
	w.until("it is passed over", func() bool { return w.count("skipped_total", "refused") > 0 })
	late.Store(int64(time.Hour))
	w.engine.misbehave("ok")
	w.say(ann, room, "vile, and long ago")
	w.until("it is passed over", func() bool { return w.count("skipped_total", "late") > 0 })
	late.Store(0)
	w.append(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: room, UserID: ann.UserID, Handle: ann.Handle, Text: "vile shot", Flags: []string{vezechat.FlagKillfeed}})
	w.idle()
	if w.engine.askedOf("vile shot") != 0 {
		t.Error("a line of a game was judged")
	}
	if !slices.Contains(w.texts(ann, room), "not for it") {
		t.Error("what the service refuses is gone")
	}
}

// before is a world whose guilds are classified before.
func before(t *testing.T) *world {
	w := newWorld(t)
	rules := vezechat.GuardRules{Spam: vezechat.SpamLimits{Window: 1}, Classifier: new(vezechat.DefaultClassifier())}
	rules.Classifier.Rooms[vezechat.KindGuild] = vezechat.ClassifyBefore
	rules.Classifier.Labels["toxic"] = vezechat.LabelThresholds{Flag: 0.8, Hide: 0.95}
	if _, err := w.PutRules(t.Context(), vezechat.PutRules{Caller: w.person("admin", vezechat.ScopeChatAdmin), Rules: rules}); err != nil {
		t.Fatal(err)
	}
	return w
}

// hold keeps a message for the classifier, as an edge does.
func (w *world) hold(by vezechat.Caller, room vezechat.RoomID, text string) int64 {
	w.t.Helper()
	h, err := w.Hold(w.t.Context(), vezechat.HoldMessage{Caller: by, RoomID: room, Text: text, Nonce: strings.ReplaceAll(text, " ", "-"), Judge: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return h.ID
}

// What is held for the classifier is said in its order, or rejected; while the service
// fails nothing is said, and when it is back all of it is judged.
func TestClassifier_HeldUntilJudged(t *testing.T) {
	t.Parallel()
	w := before(t)
	ann, mod := w.person("ann"), w.person("mod", vezechat.ScopeChatModerate)
	room := w.guild(ann, "Guild")
	w.engine.misbehave("500")
	w.classify()
	var want []string
	for i := range 15 {
		text := fmt.Sprintf("message %d", i)
		if i%5 == 3 {
			text = "a vile " + text
		} else {
			want = append(want, text)
		}
		w.hold(ann, room, text)
	}
	w.hold(ann, room, "a rude end")
	want = append(want, "a rude end")
	w.until("the breaker opens", func() bool { return w.count("breaker_opened_total", "") > 0 })
	if got := w.texts(ann, room); len(got) != 0 {
		t.Errorf("said without a judgement: %q", got)
	}
	if page, err := w.Cases(t.Context(), vezechat.CaseQuery{Caller: mod}); err != nil || len(page.Cases) != 0 {
		t.Errorf("moderators are bothered: %+v, %v", page, err)
	}
	w.engine.misbehave("ok")
	w.classify() // two of them
	w.until("all are said", func() bool { return len(w.texts(ann, room)) >= len(want) })
	if got := w.texts(ann, room); !slices.Equal(got, want) {
		t.Errorf("said were %q", got)
	}
	rejected := 0
	own, err := w.Held(t.Context(), ann)
	for _, h := range own {
		if h.State == vezechat.HeldRejected && strings.Contains(h.Reason, "toxic") {
			rejected++
		}
	}
	if err != nil || rejected != 3 {
		t.Errorf("%d were rejected, of %+v, %v", rejected, own, err)
	}
	w.until("moderators are told of the rude one", func() bool {
		page, err := w.Cases(t.Context(), vezechat.CaseQuery{Caller: mod, Kind: vezechat.CaseFlag})
		return err == nil && len(page.Cases) == 1 && page.Cases[0].Text == "a rude end"
	})
	w.idle()
	if len(w.hidden(room)) != 0 {
		t.Error("what was let through was hidden")
	}
}

// What the service does not take waits for a moderator, and holds up nothing.
func TestClassifier_HeldIsLeftToPeople(t *testing.T) {
	t.Parallel()
	w := before(t)
	ann, mod := w.person("ann"), w.person("mod", vezechat.ScopeChatModerate)
	room := w.guild(ann, "Guild")
	w.engine.misbehave("refuses")
	w.classify()
	id := w.hold(ann, room, "hello")
	w.until("there is a case", func() bool {
		page, err := w.Cases(t.Context(), vezechat.CaseQuery{Caller: mod, Kind: vezechat.CaseHeld})
		return err == nil && len(page.Cases) == 1 && page.Cases[0].HeldID == id && page.Cases[0].Findings[0].Guard == "classifier"
	})
	w.engine.misbehave("ok")
	w.hold(ann, room, "hello again")
	w.until("the next one is said", func() bool { return slices.Equal(w.texts(ann, room), []string{"hello again"}) })
	if _, err := w.Act(t.Context(), vezechat.ModAct{Caller: mod, Kind: vezechat.ModApprove, HeldID: id}); err != nil {
		t.Fatal(err)
	}
	w.until("it is said", func() bool { return len(w.texts(ann, room)) == 2 })
	if err := w.Judge(t.Context(), vezechat.HeldJudgement{HeldID: id, Verdict: vezechat.VerdictBlock}); err != nil {
		t.Errorf("judged too late: %v", err)
	}
}
