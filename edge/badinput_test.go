package edge_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

func (sw *socketWorld) noErrors(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(sw.logs.String()) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") {
			t.Errorf("logged: %.500s", line)
		}
	}
}

// Whatever a frame says, its sender is told what is wrong and goes on.
func TestSocket_MalformedFrames(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	c := w.enter(base, alice, 2)
	huge := strings.Repeat("a", 60_000)
	for _, frame := range []string{
		``, ` `, `{`, `}`, `null`, `1`, `"join"`, `[]`, `{}`, `{"type":null}`, `{"type":"warp"}`, `{"type":"` + huge + `"}`, `{"type":"join"}`,
		`{"type":"join","room_id":0}`, `{"type":"join","room_id":"veze.room.>"}`, `{"type":"join","room_id":"*"}`, `{"type":"join","room_id":1e30}`,
		`{"type":"join","rooms":[1]}`, `{"type":"join","room_id":2,"after":"x"}`, `{"type":"join","room_id":2,"after":18446744073709551615}`,
		`{"type":"send","room_id":2}`, `{"type":"send","room_id":2,"text":""}`, `{"type":"send","room_id":2,"text":"` + huge + `"}`, `{"type":"send","room_id":2,"text":"\u0000"}`,
		`{"type":"send","room_id":2,"text":"x","nonce":"a b"}`, `{"type":"send","room_id":2,"text":"x","nonce":"a\r\nNats-Msg-Id: b"}`, `{"type":"send","room_id":2,"text":"x","nonce":"` + huge + `"}`,
		`{"type":"send","room_id":2,"text":["x"]}`, `{"type":"edit","room_id":2,"message_id":-1,"text":"x"}`, `{"type":"react","room_id":2,"message_id":1,"emoji":"` + huge + `"}`,
		`{"type":"history","room_id":2,"limit":-1}`, `{"type":"read","room_id":2,"upto":18446744073709551615}`, `{"type":"auth","token":"` + huge + `"}`,
		`{"type":"ping","ref":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, `{"type":"ping","ref":"` + huge + `"}`,
		strings.Repeat("[", 60_000), `{"type":"send","room_id":2,"text":"\ud800","ref":{}}`,
	} {
		c.say("%s", frame)
		o := c.find("answer", func(o object) bool { return o["type"] == "error" })
		if o["code"] == "internal" || o["code"] == "" || o["message"] == "" {
			t.Errorf("%.80q: %v", frame, o)
		}
		if pong := c.ask("p", `{"type":"ping"}`); pong["type"] != "pong" {
			t.Errorf("after %.80q: %v", frame, pong)
		}
	}
	if n := w.hub.appended(); n != 0 {
		t.Errorf("%d events in the log", n)
	}
	w.noErrors(t)
}

// tortures are strings that have broken other programs, where they are found.
func tortures(t *testing.T) (out []string) {
	t.Helper()
	var blns []string
	must(t, json.NewDecoder(dataFile(t, "torture", "blns", "blns.json")).Decode(&blns))
	out = append(out, blns...)
	for _, name := range []string{"xss/xss-payload-list.txt", "unicode/emoji-zwj-sequences.txt"} {
		sc := bufio.NewScanner(dataFile(t, "torture", filepath.FromSlash(name)))
		for n := 0; sc.Scan() && n < 300; n++ {
			out = append(out, sc.Text())
		}
		must(t, sc.Err())
	}
	files, err := filepath.Glob(dataPath("torture", "jsontestsuite", "*", "*.json"))
	must(t, err)
	for _, name := range files {
		b, err := os.ReadFile(name)
		must(t, err)
		if len(b) < 60_000 {
			out = append(out, string(b))
		}
	}
	return out
}

// What is accepted comes back as CheckText keeps it, to the byte.
func TestSocket_TortureTexts(t *testing.T) {
	t.Parallel()
	texts := tortures(t)
	w := newSocketWorld(t, func(s settings) { s.hub.Window = time.Millisecond })
	base, _ := w.serve(t)
	a, b := w.enter(base, alice, 2, vezechat.ScopeChatModerate), w.enter(base, bob, 2) // staff is not limited
	var accepted []string
	refused := 0
	for i, text := range texts {
		if !utf8.ValidString(text) {
			continue // no JSON text can say it
		}
		want, err := vezechat.CheckText(text)
		js, jerr := json.Marshal(text)
		must(t, jerr)
		a.left = nil
		o := a.ask(i, `{"type":"send","room_id":2,"text":`+strings.ReplaceAll(string(js), "%", "%%")+`,"nonce":"t%d"}`, i)
		if err != nil {
			refused++
			if o["type"] != "error" || o["code"] != string(vezechat.CodeOf(err)) {
				t.Errorf("%q: %v, want %v", text, o, err)
			}
			a.ask("calm", `{"type":"ping"}`)
			continue
		}
		if o["type"] != "ok" {
			t.Fatalf("%q: %v", want, o)
		}
		accepted = append(accepted, want)
	}
	for _, want := range accepted {
		if e := b.event("chat.message.created"); e["text"] != want {
			t.Errorf("%q came as %v", want, e)
		}
	}
	if len(accepted) < 500 || refused == 0 {
		t.Errorf("%d accepted, %d refused of %d", len(accepted), refused, len(texts))
	}
	w.noErrors(t)
}

// As nonces, rooms, reactions, whole frames and over HTTP: an answer each, no
// defect.
func TestSocket_TortureElsewhere(t *testing.T) {
	t.Parallel()
	texts := tortures(t)
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	c := w.enter(base, alice, 2, vezechat.ScopeChatModerate) // staff is not limited
	header := w.as(alice)
	for i, text := range texts {
		if !utf8.ValidString(text) {
			continue
		}
		js, err := json.Marshal(text)
		must(t, err)
		c.left = nil
		for _, f := range []string{
			`{"type":"send","room_id":2,"text":"x","nonce":%s,"ref":%d}`, `{"type":"join","room_id":%s,"ref":%d}`,
			`{"type":"react","room_id":2,"message_id":1,"emoji":%s,"ref":%d}`, `{"type":%s,"ref":%d}`,
		} {
			c.say(f, js, i)
			o := c.find("answer", func(o object) bool { return o["ref"] == float64(i) })
			if o["code"] == "internal" {
				t.Errorf("%s: %v", fmt.Sprintf(f, js, i), o)
			}
		}
		c.ask("calm", `{"type":"ping"}`)
		if i%10 == 0 {
			res := w.do("POST", "/rooms/2/messages", header, `{"text":`+string(js)+`}`)
			if res.status >= 500 {
				t.Errorf("%q over HTTP: %d %s", text, res.status, res.body)
			}
		}
	}
	w.noErrors(t)
}

// A client's headers never become headers of NATS that mean something there.
func TestSocket_ClientHeadersStayOutside(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	h := with(w.as(alice), "Nats-Msg-Id", "mine", "Nats-Expected-Last-Sequence", "99", "Nats-Rollup", "all", "Nats-TTL", "1s",
		"X-QNet-Nats-Msg-Id", "mine", "X-QNet-Hop", "helm/1", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	c := dial(t, base, "/ws", h)
	c.event("hello")
	id := c.ask(1, `{"type":"send","room_id":2,"text":"by socket","nonce":"n"}`)["message_id"]
	res := w.do("POST", "/rooms/2/messages", h, `{"text":"by REST","nonce":"m"}`)
	if res.status != 201 {
		t.Fatalf("%d %s", res.status, res.body)
	}
	stream, err := w.bus.JetStream().Stream(t.Context(), vezechat.StreamChat)
	must(t, err)
	for seq := uint64(id.(float64)); seq <= uint64(id.(float64))+1; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		must(t, err)
		for k, v := range m.Header {
			switch k { // these the server adds to what it hands out (NATS ADR-31)
			case "Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence":
				continue
			}
			if strings.HasPrefix(strings.ToLower(k), "nats-") && (k != "Nats-Msg-Id" || len(v) != 1 || !strings.HasPrefix(v[0], "1:2:")) {
				t.Errorf("header %s: %v", k, v)
			}
		}
		if !strings.Contains(string(m.Data), `"X-Qnet-Hop":"helm/1"`) {
			t.Errorf("no trace in %s", m.Data)
		}
	}
}
