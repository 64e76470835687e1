package wire_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// What the server says, byte for byte: other people's clients parse it.
func TestReplies_Golden(t *testing.T) {
	t.Parallel()
	ref, name := json.RawMessage(`7`), json.RawMessage(`"a-\u003c"`)
	history, err := wire.With(name, struct {
		RoomID vezechat.RoomID `json:"room_id"`
	}{17})
	if err != nil {
		t.Fatal(err)
	}
	empty, err := wire.With(nil, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 123e6, time.UTC)
	event := func(e vezechat.Event) []byte {
		e.RoomID, e.UserID, e.Handle, e.At = 17, 981, "@pilot", at
		return vezechat.AppendPlaced(nil, vezechat.AppendEvent(nil, &e), 442, 431)
	}
	desk := wire.Topic{Name: wire.TopicDesk}
	ticket, late := wire.Topic{Name: wire.TopicTicket, Ticket: 5}, vezechat.Errorf(vezechat.CodeForbidden, "that needs the scope ticket.manage")
	board, err := wire.Board(vezechat.Board{Queues: []vezechat.QueueBoard{{Queue: 1, Name: "Help", Waiting: 2}}, Agents: map[vezechat.AgentStatus]int{vezechat.AgentOnline: 1}, Capacity: 100, At: at})
	if err != nil {
		t.Fatal(err)
	}
	lines := [][]byte{
		wire.Hello("e-1", 981, "@pilot"), wire.OK(nil), wire.OK(ref), wire.Pong(name), wire.Joined(ref, 17, 450, false), wire.Joined(nil, 17, 0, true),
		wire.Sent(ref, 451, false), wire.Sent(name, 451, true), history, empty, wire.Lag(17, 1200), wire.Bye("drain", 8300*time.Millisecond), wire.Typing(17, 981, "@pilot"),
		wire.Refused(ref, 17, vezechat.Errorf(vezechat.CodeRateLimited, "too fast, \"wait\"").RetryIn(1200*time.Millisecond)),
		wire.Refused(nil, 0, vezechat.Errorf(vezechat.CodeUnavailable, "soon").RetryIn(time.Microsecond)),
		wire.Refused(ref, 0, vezechat.Errorf(vezechat.CodeNotFound, "no such room")),
		wire.Watching(ref, desk, 4720, false, &wire.Seen{Upto: 4711, Count: 3}), wire.Watching(nil, ticket, 0, true, nil), wire.Watching(name, wire.Topic{Name: wire.TopicBoard}, 0, false, nil),
		wire.LagTopic(ticket, 4800), wire.Reset(desk, 4800, &wire.Seen{Upto: 4800}), wire.Unwatched(ticket, late), wire.OffDuty(late), wire.RefusedTopic(ref, ticket, late), board,
		wire.MarkTopic(event(vezechat.Event{Type: vezechat.EventTicketSolved, TicketID: 5, RequesterID: 2, Version: 3, Status: "solved"}), ticket, nil),
		wire.MarkTopic(event(vezechat.Event{Type: vezechat.EventTicketSolved, TicketID: 5, RequesterID: 2, Version: 3, Status: "solved"}), desk, &wire.Seen{Upto: 440, Count: 1}),
		event(vezechat.Event{Type: vezechat.EventMessageCreated, Text: "Warp gate <online>\n\u2028", Nonce: "n", ReplyTo: 441}),
		event(vezechat.Event{Type: vezechat.EventMessageEdited, MessageID: 440, Text: "gate"}),
		event(vezechat.Event{Type: vezechat.EventReactionAdded, MessageID: 440, Emoji: "🚀"}),
		event(vezechat.Event{Type: vezechat.EventMemberMuted, By: 1, Until: &at, Reason: "spam"}),
		event(vezechat.Event{Type: vezechat.EventRoomUpdated, Name: "Lobby", SlowMode: new(0), Locked: new(false)}),
		event(vezechat.Event{Type: vezechat.EventMessageDeleted, MessageID: 440, Trace: &vezechat.Trace{Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", QNet: map[string]string{"X-Qnet-Hop": "1"}}}),
	}
	var got bytes.Buffer
	for _, l := range lines {
		if !json.Valid(l) {
			t.Errorf("not JSON: %s", l)
		}
		got.Write(append(l, '\n'))
	}
	file := filepath.Join("testdata", "replies.golden")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
}

func TestParse_Refusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, ref, message string }{
		{"empty", ``, "", "not JSON"},
		{"not JSON", `{"type":"ping"`, "", "not JSON"},
		{"two objects", `{"type":"ping"}{}`, "", "not JSON"},
		{"array", `[1]`, "", "not a JSON object"},
		{"number", `1`, "", "not a JSON object"},
		{"null", `null`, "", "no type"},
		{"no type", `{"ref":1}`, "1", "no type"},
		{"unknown type", `{"type":"warp","ref":"a"}`, `"a"`, "unknown type"},
		{"type of the wrong type", `{"type":1,"ref":2}`, "2", "type has the wrong type"},
		{"room as text", `{"type":"join","room_id":"17","ref":3}`, "3", "room_id has the wrong type"},
		{"room as fraction", `{"type":"join","room_id":1.5,"ref":3}`, "3", "room_id has the wrong type"},
		{"room too large", `{"type":"join","room_id":9223372036854775808,"ref":3}`, "3", "room_id has the wrong type"},
		{"negative room", `{"type":"join","room_id":-1}`, "", "needs a room_id"},
		{"negative cursor", `{"type":"join","room_id":1,"after":-1}`, "", "after has the wrong type"},
		{"a place beyond all", `{"type":"read","room_id":1,"upto":9223372036854775808}`, "", "out of range"},
		{"a message beyond all", `{"type":"edit","room_id":1,"message_id":18446744073709551615}`, "", "out of range"},
		{"a reply beyond all", `{"type":"send","room_id":1,"reply_to":18446744073709551615}`, "", "out of range"},
		{"a cursor beyond all", `{"type":"join","rooms":[{"room_id":1,"after":18446744073709551615}]}`, "", "out of range"},
		{"wildcard as room", `{"type":"join","room_id":">"}`, "", "room_id has the wrong type"},
		{"no room", `{"type":"send","text":"x"}`, "", "needs a room_id"},
		{"no message", `{"type":"edit","room_id":1}`, "", "needs a message_id"},
		{"a list with a hole", `{"type":"join","rooms":[{"room_id":1},{}]}`, "", "needs a room_id for each"},
		{"ref is an object", `{"type":"ping","ref":{}}`, "", "ref is a number or a string"},
		{"ref is true", `{"type":"ping","ref":true}`, "", "ref is a number or a string"},
		{"ref too long", `{"type":"ping","ref":"` + strings.Repeat("a", 64) + `"}`, "", "ref is a number or a string"},
		{"not UTF-8", "{\"type\":\"ping\",\"ref\":\"\xff\"}", "", "UTF-8"},
		{"deep", strings.Repeat("[", 20_000), "", "not JSON"},
		{"history of nothing", `{"type":"history","room_id":1,"limit":-1}`, "", "limit"},
		{"history of all", `{"type":"history","room_id":1,"limit":201}`, "", "limit"},
		{"no token", `{"type":"auth"}`, "", "needs a token"},
		{"watch nothing", `{"type":"watch"}`, "", "topics or a ticket_id"},
		{"watch a topic and a ticket", `{"type":"watch","topics":["desk"],"ticket_id":5}`, "", "topics or a ticket_id"},
		{"watch no ticket", `{"type":"watch","ticket_id":-5}`, "", "topics or a ticket_id"},
		{"watch something else", `{"type":"watch","topics":["ticket"]}`, "", "want desk, board"},
		{"watch twice", `{"type":"watch","topics":["desk","desk"]}`, "", "want desk, board"},
		{"watch much", `{"type":"watch","topics":["desk","board","desk"]}`, "", "each once"},
		{"watch a wildcard", `{"type":"watch","topics":["*"]}`, "", "want desk, board"},
		{"watch with what no frame had", `{"type":"watch","topics":["desk"],"after":9,"seen":"7"}`, "", "seen is what"},
		{"watch with less than nothing", `{"type":"watch","topics":["desk"],"after":9,"seen":"7+-1"}`, "", "seen is what"},
		{"watch beyond all", `{"type":"watch","topics":["desk"],"after":18446744073709551615}`, "", "out of range"},
		{"unwatch nothing", `{"type":"unwatch"}`, "", "topics or a ticket_id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := wire.Parse([]byte(tt.in))
			if vezechat.CodeOf(err) != vezechat.CodeBadRequest || !strings.Contains(vezechat.AsError(err).Message, tt.message) {
				t.Errorf("err %v, want %q", err, tt.message)
			}
			if string(r.Ref) != tt.ref {
				t.Errorf("ref %s, want %s", r.Ref, tt.ref)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping","ref":1}`, `{"type":"join","room_id":17,"after":442,"epoch":"e"}`, `{"type":"join","rooms":[{"room_id":1},{"room_id":2,"after":0}],"ref":"x"}`,
		`{"type":"send","room_id":17,"text":"κόσμε 🚀","nonce":"n","reply_to":441}`, `{"type":"read","room_id":1,"upto":18446744073709551615}`, `{"Type":"ping","REF":1}`,
		`{"type":"auth","token":"t"}`, `{"ref":-0}`, `{"ref":1e400,"type":"ping"}`, `{"ref":"\ud800","type":"ping"}`, `{"type":"ping","ref":null}`, `{"type":"x","ref":1,"ref":{}}`, "\xff", `[]`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wire.Parse(b)
		if err != nil && vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%q: %v", b, err)
		}
		// Whatever came, the answer is JSON and repeats the ref.
		for _, answer := range [][]byte{wire.OK(r.Ref), wire.Refused(r.Ref, r.RoomID, vezechat.AsError(vezechat.Errorf(vezechat.CodeBadRequest, "%s", b)))} {
			if !json.Valid(answer) || len(r.Ref) > wire.MaxRef {
				t.Errorf("%q is answered with %q", b, answer)
			}
		}
		if err == nil && (!utf8.Valid(b) || r.Type == "" || len(r.Rooms) > wire.MaxRooms || r.Type == wire.OpJoin && len(r.Rooms) == 0) {
			t.Errorf("%q passed as %+v", b, r)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	frame := []byte(`{"type":"send","ref":12345,"room_id":17,"nonce":"0123456789abcdef","text":"` + strings.Repeat("x", 200) + `"}`)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.Parse(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func TestSealText(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 127, 0xFFFF, 0x10000, 70_000} {
		payload := bytes.Repeat([]byte("x"), n)
		sealed := wire.SealText(append(make([]byte, wire.MaxHead), payload...))
		if want := wire.AppendText(nil, payload); !bytes.Equal(sealed, want) {
			t.Errorf("%d bytes: %d in a frame that begins %x, want %d and %x", n, len(sealed), sealed[:min(12, len(sealed))], len(want), want[:min(12, len(want))])
		}
	}
}

func BenchmarkAppendText(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 300)
	buf := make([]byte, 0, 1024)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendText(buf[:0], payload)
	}
}
