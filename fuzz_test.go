package vezechat_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

var texts = []string{
	"", "Warp gate online", "<script>alert(1)</script>&", "κόσμε 🚀", "a\u2028b\u2029c", "quote \" back \\ slash /", "\x00\x01\x1f\x7f", "tab\tline\nend\r\n",
	"\xff\xfe", "\xed\xa0\x80", "\u202eover", "\u200fעברית", "\ufffd", "\ufeffbom", `\u0000`, `","seq":1,"x":"`, "}", strings.Repeat("é", 300),
}

func FuzzAppendJSONString(f *testing.F) {
	for _, s := range texts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := vezechat.AppendJSONString(nil, s)
		var back, want string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%q: %v in %s", s, err, got)
		}
		ref, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ref, &want); err != nil {
			t.Fatal(err)
		}
		if back != want || utf8.ValidString(s) && back != s {
			t.Errorf("%q became %q, encoding/json makes %q", s, back, want)
		}
		if bytes.ContainsAny(got, "<>&\u2028\u2029") {
			t.Errorf("not a literal for a page: %s", got)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `null`, `{"type":"chat.message.created","room_id":17,"user_id":981,"handle":"@pilot","text":"hi","at":"2026-11-23T12:00:00.123Z"}`,
		`{"type":"chat.message.created","room_id":-1,"user_id":1,"text":"x","at":"2026-11-23T12:00:00Z"}`, `{"type":"room.updated","room_id":1,"slow_mode":5,"locked":true,"at":"2026-11-23T12:00:00Z"}`,
		`{"type":"room.member.muted","room_id":1,"user_id":2,"until":"2026-11-23T12:00:00Z","at":"0001-01-01T00:00:00Z"}`, `{"type":"chat.message.created","room_id":1e3}`,
		`{"type":"chat.reaction.added","room_id":1,"message_id":3,"user_id":2,"emoji":"🚀","at":"2026-11-23T12:00:00Z","trace":{"traceparent":"x","qnet":{"X-Qnet-A":"b"}}}`,
		`{"type":"ticket.created","ticket_id":5,"subject":"Lost <ship>","created_by":1,"requester_id":1,"status":"new","priority":"high","tags":["a","b"],"version":1,"at":"2026-11-23T12:00:00Z"}`,
		`{"type":"ticket.commented","ticket_id":5,"room_id":8,"message_id":442,"user_id":1,"requester_id":1,"notes":true,"version":2,"flags":["staff"],"at":"2026-11-23T12:00:00Z"}`,
		`{"type":"ticket.offer.made","ticket_id":5,"user_id":2,"requester_id":1,"offer_id":9,"live":true,"expires_at":"2026-11-23T12:00:30Z","version":2,"at":"2026-11-23T12:00:00Z"}`,
		`{"type":"ticket.sla.warned","ticket_id":5,"requester_id":1,"metric":"first_reply","percent":80,"due_at":"2026-11-23T13:00:00Z","version":3,"at":"2026-11-23T12:00:00Z"}`,
		`{"type":"ticket.merged","ticket_id":5,"requester_id":1,"version":-3,"merged_into":-1,"at":"2026-11-23T12:00:00Z"}`, `{"type":"ticket.created","ticket_id":5,"status":"dancing","version":1e9}`,
		`{"type":"agent.status.changed","user_id":2,"handle":"@agent","status":"not_responding","reason":"misses","at":"2026-11-23T12:00:00Z"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := vezechat.ParseEvent(b)
		if err != nil {
			if vezechat.CodeOf(err) != vezechat.CodeBadRequest {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		// What was understood once is written so that it is understood the same.
		once := vezechat.AppendEvent(nil, &e)
		again, err := vezechat.ParseEvent(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if twice := vezechat.AppendEvent(nil, &again); !bytes.Equal(once, twice) {
			t.Errorf("%s\nthen %s", once, twice)
		}
	})
}

func FuzzAppendPlaced(f *testing.F) {
	for i, s := range texts {
		f.Add(s, s, uint64(i), uint64(i)<<40, i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, text, handle string, seq, prev uint64, created bool) {
		e := vezechat.Event{Type: vezechat.EventMessageEdited, RoomID: 17, MessageID: 5, UserID: 981, Handle: handle, Text: text,
			Nonce: handle, Reason: text, Flags: []string{text}, At: time.Unix(1e9, 0), Trace: &vezechat.Trace{QNet: map[string]string{"X-Qnet-A": text}}}
		if created {
			e.Type = vezechat.EventMessageCreated
		}
		payload := vezechat.AppendEvent(nil, &e)
		if got := vezechat.TypeOf(payload); got != e.Type {
			t.Errorf("type %q", got)
		}
		placed := vezechat.AppendPlaced([]byte("before"), payload, vezechat.Seq(seq), vezechat.Seq(prev))
		rest, ok := bytes.CutPrefix(placed, []byte("before"))
		if !ok || !bytes.HasPrefix(rest, payload[:len(payload)-1]) {
			t.Fatalf("not the payload with something behind: %s", placed)
		}
		var got vezechat.Event
		if err := json.Unmarshal(rest, &got); err != nil {
			t.Fatalf("%v in %s", err, rest)
		}
		id := e.MessageID
		if created {
			id = vezechat.Seq(seq)
		}
		if uint64(got.Seq) != seq || uint64(got.Prev) != prev || got.MessageID != id {
			t.Errorf("seq %d, prev %d, message_id %d in %s", got.Seq, got.Prev, got.MessageID, rest)
		}
		if utf8.ValidString(text) && got.Text != text || utf8.ValidString(handle) && got.Handle != handle {
			t.Errorf("text %q became %q, handle %q became %q", text, got.Text, handle, got.Handle)
		}
	})
}

func FuzzIDs(f *testing.F) {
	for _, s := range []string{"", "0", "1", "-1", "+1", "01", "9223372036854775807", "9223372036854775808", "18446744073709551615", "*", ">", "1.2", " 1", "1\x00", "１", "1e3", "0x1", "veze.room.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ticket, ok := vezechat.TicketOfSubject("veze.ticket." + s); ok && vezechat.TicketSubject(ticket) != "veze.ticket."+s {
			t.Errorf("%q is not a subject of ticket %d", s, ticket)
		}
		if agent, ok := vezechat.AgentOfSubject("veze.agent." + s); ok && vezechat.AgentSubject(agent) != "veze.agent."+s {
			t.Errorf("%q is not a subject of agent %d", s, agent)
		}
		if dlq := vezechat.DLQSubject("store", "veze.ticket."+s); strings.ContainsAny(dlq, " *>\x00") || strings.Contains(dlq, "..") {
			t.Errorf("dead letters under %q", dlq)
		}
		id, err := vezechat.ParseRoomID(s)
		if err == nil && (id <= 0 || id.String() != s) || err != nil && vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("room %q: %d, %v", s, id, err)
		}
		seq, serr := vezechat.ParseSeq(s)
		if serr == nil && seq.String() != s || serr != nil && vezechat.CodeOf(serr) != vezechat.CodeBadRequest {
			t.Errorf("seq %q: %d, %v", s, seq, serr)
		}
		for _, subject := range []string{"veze.room." + s, "veze.live.room." + s, "veze.soft.room." + s, s} {
			got, ok := vezechat.RoomOfSubject(subject)
			if ok && vezechat.RoomSubject(got) != subject && vezechat.LiveRoomSubject(got) != subject && vezechat.SoftRoomSubject(got) != subject {
				t.Errorf("%q is not a subject of room %d", subject, got)
			}
			if subject != s && ok != (err == nil) {
				t.Errorf("%q: %t, as an id %v", subject, ok, err)
			}
		}
	})
}

func FuzzChecks(f *testing.F) {
	for _, s := range texts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := vezechat.CheckText(s)
		switch {
		case err != nil:
			if c := vezechat.CodeOf(err); c != vezechat.CodeBadRequest && c != vezechat.CodeTooLarge {
				t.Errorf("%q: %v", s, err)
			}
		case text == "" || !utf8.ValidString(text) || utf8.RuneCountInString(text) > vezechat.MaxText || strings.ContainsAny(text, "\r\x00\x7f\u202e"):
			t.Errorf("%q passed as %q", s, text)
		default:
			if again, err := vezechat.CheckText(text); err != nil || again != text {
				t.Errorf("%q, checked again: %q, %v", text, again, err)
			}
			payload := vezechat.AppendEvent(nil, &vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 1, UserID: 1, Text: text, At: time.Unix(1, 0)})
			if e, err := vezechat.ParseEvent(payload); err != nil || e.Text != text {
				t.Errorf("%q came back as %q, %v", text, e.Text, err)
			}
		}
		if vezechat.CheckEmoji(s) == nil && (s == "" || len(s) > vezechat.MaxEmoji || strings.ContainsAny(s, " \n\x00")) {
			t.Errorf("reaction %q", s)
		}
		if vezechat.CheckNonce(s) == nil && (len(s) > vezechat.MaxNonce || strings.ContainsAny(s, " \r\n\x00\x7f\u00e9")) {
			t.Errorf("nonce %q", s)
		}
	})
}

func BenchmarkAppendEvent(b *testing.B) {
	e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 17, UserID: 981, Handle: "@pilot", Text: strings.Repeat("x", 200), Nonce: "n-1", At: time.Now()}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = vezechat.AppendEvent(buf[:0], &e)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkAppendPlaced(b *testing.B) {
	payload := vezechat.AppendEvent(nil, &vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 17, UserID: 981, Handle: "@pilot", Text: strings.Repeat("x", 200), At: time.Now()})
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = vezechat.AppendPlaced(buf[:0], payload, 442, 431)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkParseEvent(b *testing.B) {
	payload := vezechat.AppendEvent(nil, &vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 17, UserID: 981, Handle: "@pilot", Text: strings.Repeat("x", 200), At: time.Now()})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := vezechat.ParseEvent(payload); err != nil {
			b.Fatal(err)
		}
	}
}
