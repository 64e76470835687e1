package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

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

// limit is a bound of time on a machine that has nothing else to do; with the race
// detector everything is slower.
func limit(d time.Duration) time.Duration {
	if len(raceFlag) > 0 {
		return 5 * d
	}
	return d
}
