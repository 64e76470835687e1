package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/nats-io/nats.go"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// Two people on two edges are in one room: lines, typing and who is here cross.
func TestEdges_TwoPeople(t *testing.T) {
	t.Parallel()
	h, e := shared(t), secondEdge(t)
	room, _ := h.globalRoom(t)
	a, b := signIn(t, h.url, fresh("ada")), signIn(t, e.url, fresh("bob"))
	a.join(room)
	b.join(room)
	for i := range 5 {
		a.say(fmt.Sprintf("from one %d", i))
		b.sees(fmt.Sprintf("from one %d", i))
		b.say(fmt.Sprintf("from two %d", i))
		a.sees(fmt.Sprintf("from two %d", i))
	}
	if n := len(a.texts()); n != 10 {
		t.Errorf("%d lines, want 10", n)
	}
	a.until(`document.querySelector("#here").textContent === "2"`)
	b.until(`document.querySelector("#here").textContent === "2"`)
	eventually(t, "typing is seen", func() bool { // the hub passes it on each few seconds at most
		b.act(`const x = document.querySelector("#text"); x.value += "…"; x.dispatchEvent(new Event("input"))`)
		return eval[string](a, `document.querySelector("#typing").textContent`) == b.handle+" is typing…"
	})
	b.open("/docs")
	a.until(`document.querySelector("#here").textContent === "1"`)
}

func secondEdge(t *testing.T) *hub {
	t.Helper()
	e, err := world.second()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Who is kicked on one edge is out on the other within a second, counted from
// the request.
func TestEdges_KickCrosses(t *testing.T) {
	t.Parallel()
	h, e := shared(t), secondEdge(t)
	owner, bob := h.rest(t, fresh("ada")), fresh("bob")
	room, err := owner.CreateRoom(t.Context(), fresh("Guild "), vezechat.KindGuild)
	if err != nil {
		t.Fatal(err)
	}
	member := fmt.Sprintf("/rooms/%d/members/%d", room.ID, userID(t, h, bob))
	if err := owner.Do(t.Context(), "PUT", member, map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	kicked := make(chan time.Time, 8)
	var after atomic.Int32
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{URL: e.url, Token: h.token(t, bob, "chat.read chat.write"),
		OnReset: func(vezechat.RoomID, vezechat.Seq) {},
		OnEvent: func(ev client.Event) {
			switch ev.Type {
			case vezechat.EventMemberKicked, vezechat.EventMemberLeft:
				kicked <- time.Now()
			case vezechat.EventMessageCreated:
				if ev.Text == "after" {
					after.Add(1)
				}
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Join(ctx, room.ID, 0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := owner.Do(t.Context(), "DELETE", member, nil, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-kicked:
		t.Logf("kicked on one edge, out on the other after %v", at.Sub(began))
		if took := at.Sub(began); took > limit(time.Second) {
			t.Errorf("it took %v", took)
		}
	case <-ctx.Done():
		t.Fatal("the socket was never told")
	}
	if _, err := owner.Send(t.Context(), room.ID, "after", "n1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(ctx, room.ID, "may I", "n2"); vezechat.CodeOf(err) != vezechat.CodeNotFound && vezechat.CodeOf(err) != vezechat.CodeForbidden {
		t.Errorf("writing to the room left: %v", err)
	}
	if after.Load() != 0 {
		t.Error("the room is still heard")
	}
}

// What a bot says to one person reaches their sockets on every edge, and nobody else's.
func TestEdges_AnswersToTheCallerCross(t *testing.T) {
	t.Parallel()
	h, e := shared(t), secondEdge(t)
	room, _ := h.globalRoom(t)
	var key struct {
		Secret string          `json:"secret"`
		User   vezechat.UserID `json:"user_id"`
	}
	name := fresh("oracle")
	if err := h.admin(t).Do(t.Context(), "POST", "/admin/keys", map[string]any{"name": name, "handle": name, "scopes": []string{"chat.read", "chat.write"}}, &key); err != nil {
		t.Fatal(err)
	}
	bot := client.REST{URL: h.url, Token: key.Secret}
	if err := bot.Do(t.Context(), "PUT", "/commands/ask", map[string]any{"description": "Tells you alone", "room_id": room}, nil); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(h.file(t).NatsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe(vezechat.BotSubject(key.User, "ask"), func(m *nats.Msg) { _ = m.Respond([]byte(`{"text":"between us"}`)) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ada := fresh("ada")
	token := h.token(t, ada, "chat.read chat.write")
	told := make(chan vezechat.Ephemeral, 4)
	c, err := client.Dial(t.Context(), client.Config{URL: e.url, Token: token, OnEphemeral: func(e vezechat.Ephemeral) { told <- e }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	here, there, other := opened(t, h, token), opened(t, e, token), opened(t, e, h.token(t, fresh("bob"), "chat.read chat.write"))
	here.say(t, map[string]any{"type": "send", "ref": 1, "room_id": room, "text": "/ask", "nonce": fresh("n")})
	for _, s := range []*opening{here, there} {
		if f := s.until(t, "ephemeral"); f["text"] != "between us" || f["command"] != "ask" {
			t.Errorf("%v", f)
		}
	}
	if sent, err := c.Send(t.Context(), roomID(room), "/ask again", fresh("n")); err != nil || sent != (client.Sent{Command: "ask", To: vezechat.ToCaller}) {
		t.Errorf("the client's own: %+v, %v", sent, err)
	}
	for range 2 {
		select {
		case f := <-told:
			if f.To != c.Hello().User.ID || f.UserID != key.User || f.RoomID != roomID(room) || f.Command != "ask" || f.Text != "between us" || f.At.IsZero() {
				t.Errorf("the client is told %+v", f)
			}
		case <-time.After(15 * time.Second):
			t.Fatal("the client is not told")
		}
	}
	other.say(t, map[string]any{"type": "ping"})
	if f := other.until(t, "pong", "ephemeral"); f["type"] != "pong" {
		t.Errorf("another hears %v", f)
	}
}

// opening is a socket that was opened.
type opening struct{ *websocket.Conn }

// socket opens a socket, until the test ends.
func (h *hub) socket(t *testing.T, header http.Header) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	ws, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws"+strings.TrimPrefix(h.url, "http")+"/ws", header)
	if err != nil {
		t.Fatal(err, resp)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

func opened(t *testing.T, h *hub, token string) *opening {
	t.Helper()
	o := &opening{h.socket(t, http.Header{"Authorization": {"Bearer " + token}})}
	o.until(t, "hello")
	return o
}

func (o *opening) say(t *testing.T, frame map[string]any) {
	t.Helper()
	if err := o.WriteJSON(frame); err != nil {
		t.Fatal(err)
	}
}

// until returns the next frame of some types.
func (o *opening) until(t *testing.T, types ...string) map[string]any {
	t.Helper()
	_ = o.SetReadDeadline(time.Now().Add(15 * time.Second))
	for {
		var f map[string]any
		if err := o.ReadJSON(&f); err != nil {
			t.Fatal(err)
		}
		if typ, _ := f["type"].(string); slices.Contains(types, typ) || typ == "error" {
			return f
		}
	}
}

// limit is a bound of time on a machine that has nothing else to do; with the race
// detector everything is slower.
func limit(d time.Duration) time.Duration {
	if len(raceFlag) > 0 {
		return 5 * d
	}
	return d
}
