package edge_test

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// asyncDoc is what the hub serves as asyncapi.json.
func asyncDoc(t *testing.T) apiDoc {
	t.Helper()
	a := newWorld(t).do("GET", "/asyncapi.json", with(nil, "X-Forwarded-Prefix", "/proxy/chat"), "")
	var d apiDoc
	a.json(t, &d)
	if d["asyncapi"] != "3.0.0" || d.at("#/servers/sockets")["pathname"] != "/proxy/chat" || d.at("#/info")["version"] == "{version}" {
		t.Errorf("%v %v %v", d["asyncapi"], d.at("#/servers/sockets"), d.at("#/info"))
	}
	return d
}

// payload is the schema of a message.
func (d apiDoc) payload(name string) map[string]any {
	s, _ := d.at("#/components/messages/" + name)["payload"].(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		return d.at(ref)
	}
	return s
}

// sameFields compares a schema with the fields that a type has as JSON, and their kinds.
func (d apiDoc) sameFields(t *testing.T, name string, schema map[string]any, of reflect.Type, but ...string) {
	t.Helper()
	props, _ := schema["properties"].(map[string]any)
	fields := map[string]reflect.Type{}
	for i := range of.NumField() {
		tag, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if tag != "" && tag != "-" && !slices.Contains(but, tag) {
			fields[tag] = of.Field(i).Type
		}
	}
	want, got := slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(props))
	if !slices.Equal(want, got) {
		t.Errorf("%s: the document has the fields %v, the type %v", name, got, want)
	}
	for field, typ := range fields {
		p, _ := props[field].(map[string]any)
		if ref, ok := p["$ref"].(string); ok {
			p = d.at(ref)
		}
		if kind := kindOf(typ); p["type"] != nil && p["type"] != kind {
			t.Errorf("%s: %s is %v in the document, and %s in the type", name, field, p["type"], kind)
		}
	}
}

func kindOf(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return kindOf(t.Elem())
	case t == reflect.TypeFor[time.Time]() || t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Slice:
		return "array"
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		return "object"
	}
	return "integer"
}

func names[T ~string](list []any) (out []T) {
	for _, v := range list {
		s, _ := v.(string)
		out = append(out, T(s))
	}
	slices.Sort(out)
	return out
}

// The document has every operation, event, code and field that there is, and no other.
func TestAsyncAPI_IsWhole(t *testing.T) {
	t.Parallel()
	d := asyncDoc(t)
	b, err := json.Marshal(d)
	must(t, err)
	for _, r := range regexp.MustCompile(`"\$ref":"([^"]+)"`).FindAllStringSubmatch(string(b), -1) {
		if d.at(strings.ReplaceAll(r[1], "~1", "/")) == nil {
			t.Errorf("%s leads nowhere", r[1])
		}
	}
	src, err := os.ReadFile("wire/wire.go")
	must(t, err)
	ops, asked := 0, map[string]any{}
	for _, m := range opPattern.FindAllStringSubmatch(string(src), -1) {
		ops++
		schema := d.payload("client_" + m[1])
		if schema == nil {
			t.Errorf("the operation %s is not there", m[1])
			continue
		}
		maps.Copy(asked, schema["properties"].(map[string]any))
	}
	clients := 0
	for name := range d.at("#/components/messages") {
		if strings.HasPrefix(name, "client_") {
			clients++
		}
	}
	if ops < 16 || clients != ops {
		t.Errorf("%d operations, %d in the document", ops, clients)
	}
	d.sameFields(t, "operations", map[string]any{"properties": asked}, reflect.TypeFor[wire.Request]())
	schemas := func(name string) map[string]any { return d.at("#/components/schemas/" + name) }
	d.sameFields(t, "JoinRoom", schemas("JoinRoom"), reflect.TypeFor[wire.JoinRoom]())
	d.sameFields(t, "Event", schemas("Event"), reflect.TypeFor[vezechat.Event]())
	d.sameFields(t, "LogEvent", schemas("LogEvent"), reflect.TypeFor[vezechat.Event](), "seq", "prev")
	d.sameFields(t, "Trace", schemas("Trace"), reflect.TypeFor[vezechat.Trace]())
	d.sameFields(t, "Game", schemas("Game"), reflect.TypeFor[vezechat.GameEvent]())
	d.sameFields(t, "GamePlayer", schemas("GamePlayer"), reflect.TypeFor[vezechat.GamePlayer]())
	d.sameFields(t, "CommandCall", schemas("CommandCall"), reflect.TypeFor[vezechat.CommandCall]())
	d.sameFields(t, "CommandReply", schemas("CommandReply"), reflect.TypeFor[vezechat.CommandReply]())
	d.sameFields(t, "Person", schemas("Person"), reflect.TypeFor[wire.Person]())
	d.sameFields(t, "presence", d.payload("server_presence"), reflect.TypeFor[wire.Presence]())
	board := maps.Clone(d.payload("server_board"))
	board["properties"] = maps.Clone(board["properties"].(map[string]any))
	delete(board["properties"].(map[string]any), "type")
	d.sameFields(t, "board", board, reflect.TypeFor[vezechat.Board]())

	types := vezechat.EventTypes()
	slices.Sort(types)
	if got := names[vezechat.EventType](d.at("#/components/schemas/Event/properties/type")["enum"].([]any)); !slices.Equal(got, types) {
		t.Errorf("events %v, want %v", got, types)
	}
	for file, list := range map[string][]string{
		`../error.go Code = "([a-z_]+)"`:         names[string](schemas("Code")["enum"].([]any)),
		`../game.go GameEventType = "([a-z.]+)"`: names[string](d.at("#/components/schemas/Game/properties/type")["enum"].([]any)),
		`wire/close.go CloseCode = (\d{4})`:      slices.Sorted(maps.Keys(d.at("#/channels/socket/x-close-codes"))),
	} {
		path, pattern, _ := strings.Cut(file, " ")
		src, err := os.ReadFile(path)
		must(t, err)
		var want []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(src), -1) {
			want = append(want, m[1])
		}
		slices.Sort(want)
		if !slices.Equal(want, list) || len(want) < 5 {
			t.Errorf("%s: %v, the document has %v", path, want, list)
		}
	}
}

// What the server says, as its golden file has it, is as the document says.
func TestAsyncAPI_ServerFrames(t *testing.T) {
	t.Parallel()
	d := asyncDoc(t)
	f, err := os.Open("wire/testdata/replies.golden")
	must(t, err)
	defer f.Close()
	seen := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var o map[string]any
		must(t, json.Unmarshal(s.Bytes(), &o))
		name, _ := o["type"].(string)
		switch {
		case name == "duty":
			name = "offduty"
		case o["topic"] != nil && o["seq"] != nil:
			name = "topicEvent"
		case o["seq"] != nil:
			name = "event"
		}
		seen[name] = true
		schema := d.payload("server_" + name)
		if schema == nil {
			t.Errorf("no message for %s", s.Text())
			continue
		}
		for _, w := range d.wrong(schema, o, name) {
			t.Errorf("%s, in %s", w, s.Text())
		}
	}
	for name := range d.at("#/components/messages") {
		if short, ok := strings.CutPrefix(name, "server_"); ok && !seen[short] && short != "presence" && short != "held" && short != "ephemeral" {
			t.Errorf("%s is in no golden frame", short)
		}
	}
}

// The addresses are those that the code has.
func TestAsyncAPI_Addresses(t *testing.T) {
	t.Parallel()
	d := asyncDoc(t)
	game, err := vezechat.GameSubject("cs16", "dust2")
	must(t, err)
	for channel, want := range map[string]string{
		"live": vezechat.LiveRoomSubject(17), "game": game, "bot": vezechat.BotSubject(981, "roll"), "stream": redisstream.DefaultStream, "socket": "/ws", "roomSocket": "/ws/rooms/17",
	} {
		got, _ := d.at("#/channels/" + channel)["address"].(string)
		if got = strings.NewReplacer("{room}", "17", "{game}", "cs16", "{match}", "dust2", "{bot}", "981", "{command}", "roll").Replace(got); got != want {
			t.Errorf("%s: %s, want %s", channel, got, want)
		}
	}
}
