package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Limits of a ticker.
const (
	MaxTickerRooms = 20   // rooms of one ticker
	maxCursor      = 2048 // bytes of a cursor
)

// Cursor is how far a ticker has shown each of its rooms. Its text is the id of the
// ticker's events, which browsers send back as Last-Event-ID (HTML §9.2.3).
type Cursor struct {
	Epoch string
	At    map[vezechat.RoomID]vezechat.Seq
}

// String is the cursor on one line: the epoch, and room=seq for each room, separated
// by semicolons.
func (c Cursor) String() string { return string(c.append(nil)) }

func (c Cursor) append(dst []byte) []byte {
	dst = append(dst, c.Epoch...)
	for _, id := range slices.Sorted(maps.Keys(c.At)) {
		dst = strconv.AppendInt(append(dst, ';'), int64(id), 10)
		dst = strconv.AppendUint(append(dst, '='), uint64(c.At[id]), 10)
	}
	return dst
}

// ParseCursor reads a cursor's text; an empty one is no place anywhere.
// CodeBadRequest: it is none of ours.
func ParseCursor(s string) (Cursor, error) {
	c := Cursor{At: map[vezechat.RoomID]vezechat.Seq{}}
	if s == "" {
		return c, nil
	}
	fields := strings.Split(s, ";")
	if c.Epoch = fields[0]; len(s) > maxCursor || len(c.Epoch) > 64 || strings.IndexFunc(c.Epoch, notWord) >= 0 {
		return Cursor{}, badCursor()
	}
	for _, f := range fields[1:] {
		room, place, _ := strings.Cut(f, "=")
		id, err := vezechat.ParseRoomID(room)
		if err != nil {
			return Cursor{}, badCursor()
		}
		seq, err := vezechat.ParseSeq(place)
		if err != nil || seq > vezechat.MaxSeq {
			return Cursor{}, badCursor()
		}
		c.At[id] = seq
	}
	return c, nil
}

func notWord(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

func badCursor() *vezechat.Error {
	return vezechat.Errorf(vezechat.CodeBadRequest, "the cursor is none of a ticker's: begin without one")
}

// TickerRoom is a room as a ticker shows it.
type TickerRoom struct {
	ID   vezechat.RoomID   `json:"room_id"`
	Name string            `json:"name"`
	Kind vezechat.RoomKind `json:"kind"`
}

// Ticker turns the frames of a socket into an event stream (HTML §9.2), for who only
// looks: the lines of rooms, how many people are in them, and how the stream stands.
// It is used by one goroutine at a time.
type Ticker struct {
	user   vezechat.UserID
	rooms  map[vezechat.RoomID]TickerRoom
	cursor Cursor
	end    string
	closed bool // by a close frame

	// Shown counts the events in the stream, Alive is called for each sign that the
	// client is there to be asked for one.
	Shown func(n int)
	Alive func()
}

// NewTicker returns a ticker of rooms for a user, who has seen what is before cursor.
func NewTicker(user vezechat.UserID, rooms []TickerRoom, cursor Cursor) *Ticker {
	t := &Ticker{user: user, rooms: map[vezechat.RoomID]TickerRoom{}, cursor: Cursor{At: map[vezechat.RoomID]vezechat.Seq{}}, Shown: func(int) {}, Alive: func() {}}
	for _, r := range rooms {
		t.rooms[r.ID] = r
		if seq, ok := cursor.At[r.ID]; ok {
			t.cursor.At[r.ID] = seq
		}
	}
	t.cursor.Epoch = cursor.Epoch
	return t
}

// End tells why nothing more comes: "lag" when the client fell behind, "gone" when it
// may see none of the rooms any more, or the name of a close code; empty while more may
// come. closed says that a close frame told so, which whoever sent it knows.
func (t *Ticker) End() (why string, closed bool) { return t.end, t.closed }

// tick is what a ticker reads of a frame.
type tick struct {
	Type      vezechat.EventType `json:"type"`
	Epoch     string             `json:"epoch"`
	RoomID    vezechat.RoomID    `json:"room_id"`
	UserID    vezechat.UserID    `json:"user_id"`
	Head      vezechat.Seq       `json:"head"`
	Seq       vezechat.Seq       `json:"seq"`
	Reset     bool               `json:"reset"`
	Count     int                `json:"count"`
	Code      vezechat.Code      `json:"code"`
	Message   string             `json:"message"`
	Reconnect int64              `json:"reconnect_after_ms"`
}

// Append appends the stream of whole frames, as AppendText, AppendPing and AppendClose
// make them. What a ticker does not show adds nothing.
func (t *Ticker) Append(dst, frames []byte) []byte {
	for t.end == "" {
		op, payload, rest, ok := cut(frames)
		if !ok {
			break
		}
		switch op {
		case opPing:
			t.Alive()
			dst = append(dst, ":\n\n"...)
		case opClose:
			var code CloseCode
			if len(payload) >= 2 {
				code, payload = CloseCode(payload[0])<<8|CloseCode(payload[1]), payload[2:]
			}
			t.closed = true
			dst = t.close(dst, code, string(payload))
		case opText:
			dst = t.text(dst, payload)
		}
		frames = rest
	}
	return dst
}

// cut takes the first frame off; ok is false when there is no whole one.
func cut(frames []byte) (op byte, payload, rest []byte, ok bool) {
	if len(frames) < 2 {
		return 0, nil, nil, false
	}
	head, n := 2, uint64(frames[1]&0x7F)
	switch n {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	if len(frames) < head {
		return 0, nil, nil, false
	}
	if head > 2 {
		n = 0
		for _, b := range frames[2:head] {
			n = n<<8 | uint64(b)
		}
	}
	if n > uint64(len(frames)-head) {
		return 0, nil, nil, false
	}
	end := head + int(n)
	return frames[0] &^ finBit, frames[head:end], frames[end:], true
}

func (t *Ticker) text(dst, payload []byte) []byte {
	var f tick
	if json.Unmarshal(payload, &f) != nil {
		return dst // the hub's own frames are JSON
	}
	_, known := t.rooms[f.RoomID]
	switch f.Type {
	case "hello":
		t.begin(f.Epoch)
	case "bye":
		return append(dst, RetryAfter(time.Duration(f.Reconnect)*time.Millisecond)...)
	}
	if !known {
		return dst
	}
	switch f.Type {
	case "ok":
		return t.joined(dst, f)
	case "error":
		if f.Code.Retryable() {
			return t.close(dst, CloseServerError, f.Message)
		}
		return t.gone(dst, f.RoomID, f.Code)
	case "presence":
		return t.event(dst, "count", false, map[string]any{"room_id": f.RoomID, "here": f.Count})
	case "lag":
		dst = t.event(dst, "lag", false, map[string]any{"room_id": f.RoomID, "head": f.Head})
		t.end = "lag"
		return dst
	}
	if f.Seq == 0 {
		return dst
	}
	t.cursor.At[f.RoomID] = f.Seq
	switch f.Type {
	case vezechat.EventMessageCreated, vezechat.EventMessageEdited, vezechat.EventMessageDeleted,
		vezechat.EventMessageHidden, vezechat.EventMessageRestored, vezechat.EventRoomArchived:
		t.Shown(1)
		return t.put(dst, string(f.Type), true, payload)
	case vezechat.EventMemberLeft, vezechat.EventMemberKicked, vezechat.EventMemberBanned:
		if f.UserID == t.user && t.rooms[f.RoomID].Kind != vezechat.KindGlobal {
			return t.gone(dst, f.RoomID, vezechat.CodeNotFound)
		}
	}
	return dst
}

// begin learns the log's epoch. A place of another one is void, and is replaced by one
// beyond every log: should the stream break before the room is joined, the hub finds
// it void once more.
func (t *Ticker) begin(epoch string) {
	if t.cursor.Epoch != "" && t.cursor.Epoch != epoch {
		for id := range t.cursor.At {
			t.cursor.At[id] = vezechat.MaxSeq
		}
	}
	t.cursor.Epoch = epoch
}

// joined tells that a room is in the stream from now on.
func (t *Ticker) joined(dst []byte, f tick) []byte {
	if _, resumed := t.cursor.At[f.RoomID]; !resumed || f.Reset {
		t.cursor.At[f.RoomID] = f.Head
	}
	r := t.rooms[f.RoomID]
	return t.event(dst, "room", true, struct {
		TickerRoom
		Head  vezechat.Seq `json:"head"`
		Reset bool         `json:"reset"`
	}{r, f.Head, f.Reset})
}

// gone tells that a room is no longer in the stream; the last one ends it.
func (t *Ticker) gone(dst []byte, id vezechat.RoomID, code vezechat.Code) []byte {
	delete(t.rooms, id)
	delete(t.cursor.At, id)
	dst = t.event(dst, "gone", false, map[string]any{"room_id": id, "code": code})
	if len(t.rooms) == 0 {
		t.end = "gone"
	}
	return dst
}

func (t *Ticker) close(dst []byte, code CloseCode, reason string) []byte {
	t.end = code.String()
	return t.event(dst, "end", false, map[string]any{"code": code, "reason": reason, "again": code < CloseBadToken})
}

func (t *Ticker) event(dst []byte, name string, id bool, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return dst // the ticker's own values marshal
	}
	return t.put(dst, name, id, b)
}

// put appends one event. The data are JSON: line ends are in it between values only.
func (t *Ticker) put(dst []byte, name string, id bool, data []byte) []byte {
	if id {
		dst = append(t.cursor.append(append(dst, "id: "...)), '\n')
	}
	dst = append(append(append(dst, "event: "...), name...), '\n')
	dst = append(dst, "data: "...)
	if bytes.ContainsAny(data, "\r\n") {
		data = bytes.Map(func(r rune) rune {
			if r == '\r' || r == '\n' {
				return ' '
			}
			return r
		}, data)
	}
	return append(append(dst, data...), "\n\n"...)
}

// RetryAfter is how an event stream says when to come back after it has broken.
func RetryAfter(d time.Duration) []byte {
	return append(strconv.AppendInt([]byte("retry: "), d.Milliseconds(), 10), "\n\n"...)
}
