package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// The promises, as findings name them.
const (
	promiseKept   = "acknowledged is kept"
	promiseOnce   = "exactly once"
	promiseOrder  = "one order"
	promiseResume = "resume or be told"
	promiseFold   = "state is the fold of the events"
	promiseBytes  = "the same bytes everywhere"
	promiseClean  = "nothing is left behind"
	promiseSlow   = "one slow client is its own problem"
	promiseBoring = "restart is boring"
	promiseParts  = "parts come back, and cry only for what is wrong"
	promiseDoor   = "the door holds"
	promiseScreen = "exactly once and in order on a screen"
	promiseProto  = "the protocol"
	promiseSettle = "settles"
	promiseRun    = "the run itself"
	promiseDesk   = "one ticket, one agent, never over capacity"
)

// judge collects findings; of each promise it keeps the first ones.
type judge struct {
	found []Finding
	more  map[string]int
}

const firstOf = 5

func (j *judge) find(promise, format string, args ...any) {
	if j.more[promise]++; j.more[promise] <= firstOf {
		j.found = append(j.found, Finding{promise, fmt.Sprintf(format, args...)})
	}
}

// check judges the evidence. It is pure.
func check(e *evidence) []Finding {
	j := &judge{more: map[string]int{}}
	rooms := j.chains(e)
	j.sends(e)
	j.redis(e, rooms)
	for _, s := range e.screens {
		j.screen(e, s, rooms[s.room])
	}
	j.fold(e)
	j.changes(e)
	j.moves(e)
	j.made(e)
	j.clean(e)
	j.spike(e.spike)
	return append(j.found, others(j.more)...)
}

// others tells of the findings that were not kept.
func others(counts map[string]int) (list []Finding) {
	for p, n := range counts {
		if n > firstOf {
			list = append(list, Finding{p, fmt.Sprintf("and %d more", n-firstOf)})
		}
	}
	return list
}

// placed is an event of PostgreSQL as everybody else must show it.
type placed struct {
	pgEvent
	whole []byte
}

// chains checks PostgreSQL's own order: places are unique over all rooms, and
// each event names the one before it. It returns the rooms' events.
func (j *judge) chains(e *evidence) map[int64][]placed {
	rooms, seen := map[int64][]placed{}, map[uint64]int64{}
	for _, ev := range e.events {
		if other, ok := seen[ev.seq]; ok {
			j.find(promiseOnce, "postgres: place %d is in room %d and in room %d", ev.seq, other, ev.room)
		}
		seen[ev.seq] = ev.room
		list := rooms[ev.room]
		last := uint64(0)
		if len(list) > 0 {
			last = list[len(list)-1].seq
		}
		if ev.prev != last {
			j.find(promiseOrder, "postgres: room %d, event %d names %d before it, and it is %d", ev.room, ev.seq, ev.prev, last)
		}
		rooms[ev.room] = append(list, placed{ev, splice(ev)})
	}
	return rooms
}

// splice writes an event's place into it, as docs/data.md says events look.
func splice(ev pgEvent) []byte {
	out := bytes.TrimSuffix(bytes.Clone(ev.payload), []byte("}"))
	if ev.kind == "chat.message.created" {
		out = strconv.AppendUint(append(out, `,"message_id":`...), ev.seq, 10)
	}
	out = strconv.AppendUint(append(out, `,"seq":`...), ev.seq, 10)
	out = strconv.AppendUint(append(out, `,"prev":`...), ev.prev, 10)
	return append(out, '}')
}

// sends checks what senders were told against PostgreSQL: each acknowledged
// message is there once, under its id; and nothing is there that nobody sent.
func (j *judge) sends(e *evidence) {
	created, rows := map[nonceKey][]uint64{}, map[nonceKey][]uint64{}
	known := map[nonceKey]*send{}
	for _, ev := range e.events {
		if ev.kind != "chat.message.created" {
			continue
		}
		b := body(ev.payload)
		k := nonceKey{ev.room, b.UserID, b.Nonce}
		created[k] = append(created[k], ev.seq)
	}
	for k, m := range e.messages {
		n := nonceKey{k.room, m.user, m.nonce}
		rows[n] = append(rows[n], k.id)
	}
	for _, s := range e.sends {
		k := nonceKey{s.room, s.user, s.nonce}
		known[k] = s
		id := s.id.Load()
		evs, ms := created[k], rows[k]
		switch {
		case id == 0 && len(evs) > 1:
			j.find(promiseOnce, "nonce %s, not acknowledged, is %d events: %v", s.nonce, len(evs), evs)
		case id == 0:
		case len(evs) == 0:
			j.find(promiseKept, "nonce %s of room %d was acknowledged as %d, and is no event in postgres", s.nonce, s.room, id)
		case len(evs) > 1:
			j.find(promiseOnce, "nonce %s of room %d was acknowledged as %d, and is %d events in postgres: %v", s.nonce, s.room, id, len(evs), evs)
		case evs[0] != id:
			j.find(promiseKept, "nonce %s of room %d was acknowledged as %d, and is event %d in postgres", s.nonce, s.room, id, evs[0])
		case len(ms) != 1 || ms[0] != id:
			j.find(promiseKept, "nonce %s of room %d was acknowledged as %d, and is message %v in postgres", s.nonce, s.room, id, ms)
		}
	}
	for k, evs := range created {
		if known[k] == nil {
			j.find(promiseOnce, "room %d has message %v with nonce %q, which nobody sent", k.room, evs, k.nonce)
		}
	}
	j.texts(e)
}

// texts checks that what was said is what is there.
func (j *judge) texts(e *evidence) {
	byID := map[messageKey]*send{}
	for _, s := range e.sends {
		if id := s.id.Load(); id != 0 {
			byID[messageKey{s.room, id}] = s
		}
	}
	for _, ev := range e.events {
		s := byID[messageKey{ev.room, ev.seq}]
		if s == nil || ev.kind != "chat.message.created" {
			continue
		}
		if b := body(ev.payload); b.Text != s.text || b.UserID != s.user || b.Nonce != s.nonce {
			j.find(promiseKept, "message %d of room %d is %q of user %d, sent was %q of user %d", ev.seq, ev.room, clip([]byte(b.Text)), b.UserID, clip([]byte(s.text)), s.user)
		}
	}
}

// redis checks the stream: the log's order, each event once, none missing, the
// same bytes.
func (j *judge) redis(e *evidence, rooms map[int64][]placed) {
	got := map[int64][]redisEntry{}
	seen, last := map[uint64]string{}, uint64(0)
	for _, x := range e.redis {
		p := placeOf(x.payload)
		if first, ok := seen[p.Seq]; ok {
			j.find(promiseOnce, "redis: event %d of room %d is entry %s and entry %s", p.Seq, p.Room, first, x.id)
			continue
		}
		if seen[p.Seq] = x.id; p.Seq < last {
			j.find(promiseOrder, "redis: event %d of room %d comes after %d", p.Seq, p.Room, last)
		}
		last = max(last, p.Seq)
		got[p.Room] = append(got[p.Room], x)
	}
	for room, want := range rooms {
		for _, ev := range want {
			if seen[ev.seq] == "" {
				j.find(promiseKept, "redis: event %d of room %d is missing", ev.seq, room)
			}
		}
		j.payloads(room, want, got[room])
	}
	for room, list := range got {
		if extra := len(list) - len(rooms[room]); extra > 0 {
			j.find(promiseOnce, "redis: room %d has %d events that postgres has not", room, extra)
		}
	}
}

func (j *judge) payloads(room int64, want []placed, got []redisEntry) {
	bySeq := map[uint64]string{}
	for _, x := range got {
		bySeq[placeOf(x.payload).Seq] = x.payload
	}
	for _, ev := range want {
		if p, ok := bySeq[ev.seq]; ok && p != string(ev.whole) {
			j.find(promiseBytes, "redis: event %d of room %d is %s, in postgres %s", ev.seq, room, clip([]byte(p)), clip(ev.whole))
		}
	}
}

// screen checks one user's view of a room: every event after its first cursor, in
// order, once, with the same bytes.
func (j *judge) screen(e *evidence, s *screen, room []placed) {
	if !s.begun.Load() {
		j.find(promiseResume, "%s never got into room %d", s.user, s.room)
		return
	}
	i := 0
	for i < len(room) && room[i].seq <= s.start {
		i++
	}
	want := room[i:]
	for n, r := range s.rows {
		switch {
		case n >= len(want):
			j.find(promiseOnce, "%s saw event %d in room %d, which postgres has not", s.user, r.seq, s.room)
			return
		case r.seq != want[n].seq:
			j.find(promiseResume, "%s saw event %d in room %d where %d is due (the %d. of %d)", s.user, r.seq, s.room, want[n].seq, n+1, len(want))
			return
		case r.prev != want[n].prev:
			j.find(promiseOrder, "%s saw event %d in room %d with %d before it, in postgres it is %d", s.user, r.seq, s.room, r.prev, want[n].prev)
		}
		if form := e.forms[r.seq][r.form]; form != string(want[n].whole) && !e.silenced(want[n], form) {
			j.find(promiseBytes, "%s saw event %d of room %d as %s, in postgres it is %s", s.user, r.seq, s.room, clip([]byte(form)), clip(want[n].whole))
		}
	}
	if missing := len(want) - len(s.rows); missing > 0 {
		j.find(promiseResume, "%s misses the last %d events of room %d, from %d on", s.user, missing, s.room, want[len(s.rows)].seq)
	}
}

// silenced reports whether form is an event without the text that its message has
// no more: who resumes after a deletion need not see what was deleted.
func (e *evidence) silenced(ev placed, form string) bool {
	b := body(ev.whole)
	if m := e.messages[messageKey{ev.room, b.MessageID}]; m.deleted.IsZero() && m.hidden.IsZero() {
		return false
	}
	var want, got map[string]any
	if json.Unmarshal(ev.whole, &want) != nil || json.Unmarshal([]byte(form), &got) != nil {
		return false
	}
	delete(want, "text")
	return reflect.DeepEqual(want, got)
}

// changes checks that what was acknowledged happened once, and nothing twice.
func (j *judge) changes(e *evidence) {
	count := map[string]int{}
	for _, ev := range e.events {
		b := body(ev.payload)
		count[changeKey(ev.kind, ev.room, b.MessageID, b.UserID, b.Text, b.Emoji)]++
	}
	kinds := map[string]string{"edit": "chat.message.edited", "delete": "chat.message.deleted", "react": "chat.reaction.added", "unreact": "chat.reaction.removed"}
	for _, c := range e.changes {
		n := count[changeKey(kinds[c.op], c.room, c.target, c.user, c.text, c.emoji)]
		switch {
		case n > 1:
			j.find(promiseOnce, "%s of message %d in room %d by user %d happened %d times", c.op, c.target, c.room, c.user, n)
		case n == 0 && c.acked.Load():
			j.find(promiseKept, "%s of message %d in room %d by user %d was acknowledged and did not happen", c.op, c.target, c.room, c.user)
		}
	}
}

func changeKey(kind string, room int64, target uint64, user int64, text, emoji string) string {
	return fmt.Sprint(kind, " ", room, " ", target, " ", user, " ", emoji, " ", text)
}

// moves checks the way through the outbox: a commuter's events alternate, as many
// as were acknowledged, and the last one is what the table says.
func (j *judge) moves(e *evidence) {
	events := map[memberKey][]string{}
	for _, ev := range e.events {
		if ev.kind == "room.member.joined" || ev.kind == "room.member.left" {
			k := memberKey{ev.room, body(ev.payload).UserID}
			events[k] = append(events[k], ev.kind)
		}
	}
	want := map[memberKey][]*move{}
	for _, m := range e.moves {
		k := memberKey{m.room, m.user}
		want[k] = append(want[k], m)
	}
	for k, ms := range want {
		got := events[k]
		for i, kind := range got {
			if (kind == "room.member.joined") != (i%2 == 0) {
				j.find(promiseOnce, "outbox: the %d. move of user %d in room %d is %s again", i+1, k.user, k.room, kind)
				break
			}
		}
		acked := 0
		for _, m := range ms {
			if m.acked.Load() {
				acked++
			}
		}
		if len(got) < acked || len(got) > len(ms) {
			j.find(promiseKept, "outbox: user %d moved %d times in room %d, %d acknowledged, and there are %d events", k.user, len(ms), k.room, acked, len(got))
		}
		if e.members[k] != (len(got)%2 == 1) {
			j.find(promiseFold, "outbox: user %d in room %d: member is %v after %d events", k.user, k.room, e.members[k], len(got))
		}
	}
}

// made checks that rooms asked for twice are there once, and were announced once.
func (j *judge) made(e *evidence) {
	announced := map[int64]int{}
	for _, ev := range e.events {
		if ev.kind == "room.created" {
			announced[ev.room]++
		}
	}
	for _, m := range e.made {
		ids, id := e.rooms[m.name], m.id.Load()
		switch {
		case len(ids) > 1:
			j.find(promiseOnce, "room %q is there as %v", m.name, ids)
		case id != 0 && (len(ids) == 0 || ids[0] != id):
			j.find(promiseKept, "room %q was acknowledged as %d, and is %v", m.name, id, ids)
		case id != 0 && announced[id] != 1:
			j.find(promiseOnce, "room %q has %d events of its making", m.name, announced[id])
		}
	}
}

func (j *judge) clean(e *evidence) {
	if e.outbox != 0 {
		j.find(promiseClean, "%d events are still in the outbox", e.outbox)
	}
	for _, l := range e.letters {
		j.find(promiseClean, "a dead letter: %s", l)
	}
}

// spike bounds what the restart of an edge costs the database.
func (j *judge) spike(s spikeResult) {
	const most = 5
	if s.known && s.ratio() > most {
		j.find(promiseBoring, "after an edge's restart the database did %.1f times as much as before (%.0f transactions/s, then %.0f)", s.ratio(), s.before, s.after)
	}
}

// content is what an event says.
type content struct {
	Type      string `json:"type"`
	MessageID uint64 `json:"message_id"`
	UserID    int64  `json:"user_id"`
	Handle    string `json:"handle"`
	Text      string `json:"text"`
	Nonce     string `json:"nonce"`
	ReplyTo   uint64 `json:"reply_to"`
	Emoji     string `json:"emoji"`
	At        string `json:"at"`
}

func body(payload []byte) (c content) {
	_ = json.Unmarshal(payload, &c) // an empty one is found to be wrong
	return c
}
