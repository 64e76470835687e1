package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// sound is the evidence of a small run in which all went well: two rooms, two
// screens, and one of everything that the judge looks at.
func sound() *evidence {
	e := &evidence{
		forms: map[uint64][]string{}, messages: map[messageKey]pgMessage{}, reactions: map[reactionKey]bool{},
		members: map[memberKey]bool{}, rooms: map[string][]int64{"party": {2}},
	}
	say := func(seq, prev uint64, room int64, payload string) {
		ev := pgEvent{room: room, seq: seq, prev: prev, kind: body([]byte(payload)).Type, payload: []byte(payload)}
		e.events = append(e.events, ev)
		whole := string(splice(ev))
		e.forms[seq] = []string{whole}
		e.redis = append(e.redis, redisEntry{fmt.Sprintf("%d-0", seq), whole})
	}
	at := `,"at":"2026-11-23T12:00:00.123Z"}`
	say(1, 0, 1, `{"type":"chat.message.created","room_id":1,"user_id":7,"handle":"@a","text":"one","nonce":"n0"`+at)
	say(2, 0, 2, `{"type":"room.created","room_id":2,"name":"party"`+at)
	say(3, 1, 1, `{"type":"chat.message.created","room_id":1,"user_id":8,"handle":"@b","text":"two","nonce":"n1"`+at)
	say(4, 3, 1, `{"type":"chat.message.edited","room_id":1,"message_id":1,"user_id":7,"text":"one!"`+at)
	say(5, 4, 1, `{"type":"chat.message.deleted","room_id":1,"message_id":3,"user_id":8`+at)
	say(6, 5, 1, `{"type":"chat.reaction.added","room_id":1,"message_id":1,"user_id":8,"emoji":"x"`+at)
	say(7, 6, 1, `{"type":"room.member.joined","room_id":1,"user_id":9`+at)
	when := time.Date(2026, 11, 23, 12, 0, 0, 123e6, time.UTC)
	e.messages[messageKey{1, 1}] = pgMessage{user: 7, handle: "@a", text: "one!", nonce: "n0", at: when, edited: when}
	e.messages[messageKey{1, 3}] = pgMessage{user: 8, handle: "@b", nonce: "n1", at: when, deleted: when}
	e.reactions[reactionKey{messageKey{1, 1}, "x", 8}] = true
	e.members[memberKey{1, 9}] = true
	e.sends = []*send{acknowledged(1, 7, "n0", "one", 1), acknowledged(1, 8, "n1", "two", 3), {room: 1, user: 7, nonce: "n2", text: "open"}}
	e.changes = []*change{{op: "edit", room: 1, user: 7, target: 1, text: "one!"}, {op: "react", room: 1, user: 8, target: 1, emoji: "x"}}
	for _, c := range e.changes {
		c.acked.Store(true)
	}
	m := &move{room: 1, user: 9, in: true}
	m.acked.Store(true)
	e.moves = []*move{m}
	made := &madeRoom{name: "party"}
	made.id.Store(2)
	e.made = []*madeRoom{made}
	e.screens = []*screen{seen(e, "a", 0), seen(e, "b", 3)}
	return e
}

func acknowledged(room, user int64, nonce, text string, id uint64) *send {
	s := &send{room: room, user: user, nonce: nonce, text: text}
	s.id.Store(id)
	return s
}

// seen is the screen of somebody who came into room 1 after a place.
func seen(e *evidence, user string, start uint64) *screen {
	s := &screen{user: user, room: 1, start: start}
	s.begun.Store(true)
	for _, ev := range e.events {
		if ev.room == 1 && ev.seq > start {
			s.rows = append(s.rows, row{ev.seq, ev.prev, 0})
		}
	}
	return s
}

func TestCheck_SoundRunHasNoFindings(t *testing.T) {
	t.Parallel()
	if found := check(sound()); len(found) != 0 {
		t.Fatalf("found %v", found)
	}
}

// A judge that cannot be made to object is none.
func TestCheck_FindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(e *evidence)
		want  string // promise
		says  string
	}{
		{"acknowledged, and not stored", func(e *evidence) { e.sends = append(e.sends, acknowledged(1, 7, "n9", "x", 99)) }, promiseKept, "n9"},
		{"acknowledged under another id", func(e *evidence) { e.sends[0].id.Store(3) }, promiseKept, "n0"},
		{"stored with another text", func(e *evidence) { e.sends[0].text = "no" }, promiseKept, "message 1"},
		{"row is missing", func(e *evidence) { delete(e.messages, messageKey{1, 1}) }, promiseKept, "n0"},
		{"two events of one nonce", func(e *evidence) {
			e.events = append(e.events, pgEvent{1, 9, 7, "chat.message.created", []byte(`{"type":"chat.message.created","nonce":"n0","user_id":7,"text":"one","at":"2026-11-23T12:00:00Z"}`)})
		}, promiseOnce, "2 events"},
		{"nobody sent it", func(e *evidence) { e.sends = e.sends[1:] }, promiseOnce, "nobody sent"},
		{"a place twice", func(e *evidence) { e.events[1].seq = 1 }, promiseOnce, "place 1"},
		{"chain is broken", func(e *evidence) { e.events[2].prev = 0 }, promiseOrder, "names 0"},
		{"redis has one twice", func(e *evidence) { e.redis = append(e.redis, e.redis[3]) }, promiseOnce, "entry"},
		{"redis lacks one", func(e *evidence) { e.redis = slices.Delete(e.redis, 3, 4) }, promiseKept, "redis: event 4"},
		{"redis has another order", func(e *evidence) { e.redis[3], e.redis[4] = e.redis[4], e.redis[3] }, promiseOrder, "comes after"},
		{"redis has other bytes", func(e *evidence) { e.redis[3].payload = strings.Replace(e.redis[3].payload, "one!", "One!", 1) }, promiseBytes, "redis: event 4"},
		{"a screen misses one", func(e *evidence) { e.screens[0].rows = slices.Delete(e.screens[0].rows, 2, 3) }, promiseResume, "where 4 is due"},
		{"a screen misses the last", func(e *evidence) { e.screens[1].rows = e.screens[1].rows[:3] }, promiseResume, "misses the last 1"},
		{"a screen has what is not stored", func(e *evidence) { e.screens[0].rows = append(e.screens[0].rows, row{9, 7, 0}) }, promiseOnce, "which postgres has not"},
		{"a screen has another chain", func(e *evidence) { e.screens[0].rows[2].prev = 1 }, promiseOrder, "before it"},
		{"a screen has other bytes", func(e *evidence) { e.forms[4] = []string{strings.Replace(e.forms[4][0], "one!", "x", 1)} }, promiseBytes, "saw event 4"},
		{"a screen was never there", func(e *evidence) { e.screens[0].begun.Store(false) }, promiseResume, "never got into"},
		{"an edit was not folded", func(e *evidence) { m := e.messages[messageKey{1, 1}]; m.text = "one"; e.messages[messageKey{1, 1}] = m }, promiseFold, "message 1"},
		{"a deletion was not folded", func(e *evidence) {
			m := e.messages[messageKey{1, 3}]
			m.text = "two"
			e.messages[messageKey{1, 3}] = m
		}, promiseFold, "message 3"},
		{"a row without event", func(e *evidence) { e.messages[messageKey{1, 6}] = pgMessage{nonce: "z"} }, promiseFold, "no event"},
		{"a reaction is missing", func(e *evidence) { clear(e.reactions) }, promiseFold, "no row"},
		{"a reaction nobody made", func(e *evidence) { e.reactions[reactionKey{messageKey{1, 1}, "y", 8}] = true }, promiseFold, "was not made"},
		{"an acknowledged change did not happen", func(e *evidence) { e.changes[0].text = "other" }, promiseKept, "did not happen"},
		{"a change happened twice", func(e *evidence) {
			ev := e.events[5]
			ev.seq, ev.prev = 8, 7
			e.events = append(e.events, ev)
		}, promiseOnce, "happened 2 times"},
		{"a move happened twice", func(e *evidence) {
			ev := e.events[6]
			ev.seq, ev.prev = 8, 7
			e.events = append(e.events, ev)
		}, promiseOnce, "outbox"},
		{"an acknowledged move has no event", func(e *evidence) { e.events = e.events[:6] }, promiseKept, "outbox"},
		{"a member that no event made", func(e *evidence) { clear(e.members) }, promiseFold, "member is false"},
		{"a room made twice", func(e *evidence) { e.rooms["party"] = []int64{2, 3} }, promiseOnce, "party"},
		{"a room lost", func(e *evidence) { clear(e.rooms) }, promiseKept, "party"},
		{"a room not announced", func(e *evidence) { e.events = slices.Delete(e.events, 1, 2) }, promiseOnce, "party"},
		{"outbox is not empty", func(e *evidence) { e.outbox = 1 }, promiseClean, "outbox"},
		{"a dead letter", func(e *evidence) { e.letters = []string{"x"} }, promiseClean, "dead letter"},
		{"a spike", func(e *evidence) { e.spike = spikeResult{true, 10, 90} }, promiseBoring, "9.0 times"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := sound()
			tt.spoil(e)
			found := check(e)
			if !slices.ContainsFunc(found, func(f Finding) bool { return f.Promise == tt.want && strings.Contains(f.Text, tt.says) }) {
				t.Fatalf("want %q with %q, found %v", tt.want, tt.says, found)
			}
		})
	}
}

// Whoever comes back after a deletion need not see what was deleted; everybody
// else's text must be whole.
func TestCheck_TextMayBeMissingOnlyWhereItWasDeleted(t *testing.T) {
	t.Parallel()
	without := func(s string) string {
		return strings.Replace(strings.Replace(s, `,"text":"two"`, "", 1), `,"text":"one"`, "", 1)
	}
	e := sound()
	e.forms[3][0] = without(e.forms[3][0])
	if found := check(e); len(found) != 0 {
		t.Errorf("deleted: found %v", found)
	}
	e = sound()
	e.forms[1][0] = without(e.forms[1][0])
	if found := check(e); len(found) == 0 {
		t.Error("not deleted, and the missing text was not found")
	}
}

func TestScreen_Show(t *testing.T) {
	t.Parallel()
	at := func(n uint64) *uint64 { return &n }
	tests := []struct {
		name      string
		after     *uint64
		head      uint64
		events    [][2]uint64
		rows      int
		again     bool
		wantWrong string
	}{
		{"in order", at(4), 9, [][2]uint64{{5, 4}, {9, 5}}, 2, false, ""},
		{"live only begins above the head", nil, 9, [][2]uint64{{11, 9}}, 1, false, ""},
		{"below the head in a live join", nil, 9, [][2]uint64{{9, 5}}, 0, false, "twice"},
		{"expired events between are no gap", at(4), 9, [][2]uint64{{9, 2}}, 1, false, ""},
		{"twice", at(4), 9, [][2]uint64{{5, 4}, {5, 4}}, 1, false, "twice"},
		{"a hole", at(4), 9, [][2]uint64{{9, 5}}, 0, true, "missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &screen{}
			if tt.after != nil {
				s.begun.Store(true)
				s.cursor.Store(*tt.after)
			}
			s.ask(false)
			if again, wrong := s.show(100, 99, 0); again || wrong != "" || len(s.rows) > 0 {
				t.Fatal("an event before the answer to the join is of an earlier one")
			}
			s.joined(tt.head)
			var again bool
			var wrong string
			for _, ev := range tt.events {
				again, wrong = s.show(ev[0], ev[1], 0)
			}
			if len(s.rows) != tt.rows || again != tt.again || !strings.Contains(wrong, tt.wantWrong) || (wrong == "") != (tt.wantWrong == "") {
				t.Errorf("rows %v, again %v, wrong %q", s.rows, again, wrong)
			}
		})
	}
}

func TestScreen_OutOfRoom(t *testing.T) {
	t.Parallel()
	s := &screen{}
	s.ask(false)
	s.joined(3)
	s.lagged()
	if _, wrong := s.show(5, 3, 0); wrong == "" {
		t.Error("an event after lag was taken")
	}
}

// The same seed hits the same victims after the same pauses; another one does
// not; and each kind of victim has its turn alone.
func TestPlan_IsOfItsSeed(t *testing.T) {
	t.Parallel()
	steps := func(seed uint64) (out []string) {
		p := newPlan(seed, false)
		for range 40 {
			s := p.next()
			out = append(out, fmt.Sprint(s.pause, s.rush, s.hits))
		}
		return out
	}
	if a, b := steps(7), steps(7); !slices.Equal(a, b) {
		t.Error("the same seed gave two plans")
	}
	if a, b := steps(7), steps(8); slices.Equal(a, b) {
		t.Error("two seeds gave one plan")
	}
	alone := map[string]bool{}
	p := newPlan(3, true)
	for n := range 10 {
		for _, h := range p.next().hits {
			if kill := strings.HasPrefix(h.how, hitKill); kill != (n < eachOnce) {
				t.Errorf("step %d is %s %s", n, h.victim, h.how)
			}
			alone[strings.TrimRight(h.victim, "01")+" "+h.how] = true
		}
	}
	want := []string{"bridge " + hitKill, "edge " + hitTerm, "edge " + hitCut, "edge " + hitKill, "edge " + hitBlind, "nats " + hitKill, "postgres " + hitKill, "redis " + hitKill, "redis " + hitRewind, "storage " + hitKill}
	if got := slices.Sorted(maps.Keys(alone)); !slices.Equal(got, want) {
		t.Errorf("in turn: %v, want %v", got, want)
	}
}

// A sender's nonce that comes again after the log has forgotten it is an event,
// and no second message (docs/data.md).
func TestFold_NonceAgain(t *testing.T) {
	t.Parallel()
	say := func(seq, prev uint64) pgEvent {
		return pgEvent{1, seq, prev, "chat.message.created", []byte(`{"type":"chat.message.created","user_id":7,"nonce":"n","text":"x","at":"2026-11-23T12:00:00.000Z"}`)}
	}
	f := foldEvents([]pgEvent{say(1, 0), say(2, 1)})
	if _, ok := f.messages[messageKey{1, 1}]; !ok || len(f.messages) != 1 {
		t.Errorf("got %v", f.messages)
	}
}

func TestSpike_Rates(t *testing.T) {
	t.Parallel()
	var s spike
	t0 := time.Unix(1000, 0)
	for i := range 41 {
		n := float64(10 * i)
		if i > 20 {
			n += float64(50 * (i - 20))
		}
		s.samples = append(s.samples, sample{t0.Add(time.Duration(i) * 250 * time.Millisecond), n})
	}
	s.at, s.window = t0.Add(5*time.Second), 3*time.Second
	got := s.result()
	if !got.known || got.before != 40 || got.after != 240 || got.ratio() != 6 {
		t.Errorf("got %+v, ratio %v", got, got.ratio())
	}
}
