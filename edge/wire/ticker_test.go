package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// said is what a room says, as the hub frames it.
func said(e vezechat.Event, seq, prev vezechat.Seq) []byte {
	e.At = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return wire.AppendText(nil, vezechat.AppendPlaced(nil, vezechat.AppendEvent(nil, &e), seq, prev))
}

func frame(payload []byte) []byte { return wire.AppendText(nil, payload) }

func TestTicker_Stream(t *testing.T) {
	t.Parallel()
	rooms := []wire.TickerRoom{{ID: 17, Name: "Lobby", Kind: vezechat.KindGlobal}, {ID: 18, Name: "Ring", Kind: vezechat.KindParty}}
	line := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 17, UserID: 2, Handle: "@b", Text: "one\ntwo"}
	for _, tt := range []struct {
		name   string
		after  string
		frames [][]byte
		want   string
		end    string
	}{
		{"live only", "", [][]byte{frame(wire.Hello("e", 1, "@a")), frame(wire.Joined(nil, 17, 40, false)), said(line, 41, 40)},
			`id: e;17=40|event: room|data: {"room_id":17,"name":"Lobby","kind":"global","head":40,"reset":false}||` +
				`id: e;17=41|event: chat.message.created|data: {"type":"chat.message.created","room_id":17,"user_id":2,"handle":"@b","text":"one\ntwo","at":"2026-11-23T12:00:00.000Z","message_id":41,"seq":41,"prev":40}||`, ""},
		{"a cursor stays until its room moves", "e;17=30;18=7", [][]byte{frame(wire.Hello("e", 1, "@a")), frame(wire.Joined(nil, 17, 40, false))},
			`id: e;17=30;18=7|event: room|data: {"room_id":17,"name":"Lobby","kind":"global","head":40,"reset":false}||`, ""},
		{"a cursor of another log is void, also of rooms that are not joined yet", "old;17=30;18=7", [][]byte{frame(wire.Hello("e", 1, "@a")), frame(wire.Joined(nil, 17, 40, true))},
			`id: e;17=40;18=9223372036854775807|event: room|data: {"room_id":17,"name":"Lobby","kind":"global","head":40,"reset":true}||`, ""},
		{"what is no line moves the cursor", "e;17=30", [][]byte{
			said(vezechat.Event{Type: vezechat.EventReactionAdded, RoomID: 17, MessageID: 3, UserID: 2, Emoji: "x"}, 44, 30), said(line, 45, 44),
		}, `id: e;17=45|event: chat.message.created|data: {"type":"chat.message.created","room_id":17,"user_id":2,"handle":"@b","text":"one\ntwo","at":"2026-11-23T12:00:00.000Z","message_id":45,"seq":45,"prev":44}||`, ""},
		{"another room's", "", [][]byte{said(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 99, UserID: 2, Text: "x"}, 44, 30), frame(wire.Typing(17, 2, "@b"))}, "", ""},
		{"a beat and a count", "", [][]byte{wire.AppendPing(nil, nil), frame(wire.Counted(17, 3))}, `:||event: count|data: {"here":3,"room_id":17}||`, ""},
		{"behind", "", [][]byte{frame(wire.Lag(17, 90)), said(line, 91, 90)}, `event: lag|data: {"head":90,"room_id":17}||`, "lag"},
		{"drained", "", [][]byte{frame(wire.Bye("drain", 8300*time.Millisecond)), wire.AppendClose(nil, wire.CloseDrain, "drain")},
			`retry: 8300||event: end|data: {"again":true,"code":4000,"reason":"drain"}||`, "drain"},
		{"banned", "", [][]byte{wire.AppendClose(nil, wire.CloseBanned, "no\nmore")}, `event: end|data: {"again":false,"code":4502,"reason":"no\nmore"}||`, "banned"},
		{"put out of one room", "e;17=1;18=2", [][]byte{said(vezechat.Event{Type: vezechat.EventMemberKicked, RoomID: 18, UserID: 1, By: 2}, 9, 8), said(line, 10, 1)},
			`event: gone|data: {"code":"not_found","room_id":18}||id: e;17=10|event: chat.message.created|data: {"type":"chat.message.created","room_id":17,"user_id":2,"handle":"@b","text":"one\ntwo","at":"2026-11-23T12:00:00.000Z","message_id":10,"seq":10,"prev":1}||`, ""},
		{"may see none any more", "", [][]byte{frame(wire.Refused(nil, 17, vezechat.Errorf(vezechat.CodeNotFound, "no such room"))), frame(wire.Refused(nil, 18, vezechat.Errorf(vezechat.CodeNotFound, "no such room")))},
			`event: gone|data: {"code":"not_found","room_id":17}||event: gone|data: {"code":"not_found","room_id":18}||`, "gone"},
		{"storage is away", "", [][]byte{frame(wire.Refused(nil, 17, vezechat.Errorf(vezechat.CodeUnavailable, "soon")))}, `event: end|data: {"again":true,"code":4004,"reason":"soon"}||`, "server_error"},
	} {
		after, err := wire.ParseCursor(tt.after)
		if err != nil {
			t.Fatal(err)
		}
		tk := wire.NewTicker(1, rooms, after)
		var frames []byte
		for _, f := range tt.frames {
			frames = append(frames, f...)
		}
		if got := strings.ReplaceAll(string(tk.Append(nil, frames)), "\n", "|"); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, got, tt.want)
		}
		if end, _ := tk.End(); end != tt.end {
			t.Errorf("%s: ended with %q, want %q", tt.name, end, tt.end)
		}
	}
}

func TestCursor_BadInput(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"e;", "e;17", "e;17=", "e;17=-1", "e;17=x", "e;0=1", "e;17=1;", "e f;17=1", "é;17=1", "e;17=99999999999999999999", strings.Repeat("e", 65) + ";17=1", "e" + strings.Repeat(";17=1", 500)} {
		if _, err := wire.ParseCursor(s); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%.40q: %v", s, err)
		}
	}
	for _, s := range []string{"", "e", "e;17=0", ";17=4", "e-1;2=9223372036854775807;17=3"} {
		if c, err := wire.ParseCursor(s); err != nil || c.String() != s {
			t.Errorf("%q: %q %v", s, c.String(), err)
		}
	}
}

// Whatever a ticker is given it writes whole events, which a client reads back.
func FuzzTicker(f *testing.F) {
	f.Add([]byte(`{"type":"chat.message.created","room_id":17,"seq":5,"text":"x\r\ny"}`), "e;17=4")
	f.Add([]byte("{\n\"type\":\"ok\",\"room_id\":17,\"head\":3}"), "")
	f.Fuzz(func(t *testing.T, payload []byte, after string) {
		c, err := wire.ParseCursor(after)
		if err != nil {
			return
		}
		tk := wire.NewTicker(1, []wire.TickerRoom{{ID: 17}}, c)
		out := tk.Append(nil, append(wire.AppendText(nil, payload), wire.AppendPing(nil, payload)...))
		tk.Append(nil, payload)
		for _, block := range strings.SplitAfter(string(out), "\n\n") {
			if block == "" {
				continue
			}
			data := ""
			for line := range strings.Lines(block) {
				name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
				if line == "\n" {
					continue
				}
				if !ok || name != "" && name != "id" && name != "event" && name != "data" && name != "retry" {
					t.Fatalf("line %q of %q", line, out)
				}
				if name == "id" {
					if _, err := wire.ParseCursor(strings.TrimSpace(value)); err != nil {
						t.Fatalf("id %q: %v", value, err)
					}
				}
				if name == "data" {
					data += value
				}
			}
			if data != "" && !json.Valid([]byte(data)) {
				t.Fatalf("data %q of %q", data, payload)
			}
		}
	})
}
