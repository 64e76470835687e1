package e2e

import (
	"fmt"
	"sync/atomic"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// secret is in every line that tests send by name: the hub's log must not have it.
const secret = "zq7-unlogged"

var serial atomic.Int64

// fresh makes a name that no other test has.
func fresh(name string) string { return fmt.Sprintf("%s%d", name, serial.Add(1)) }

// token is a token of the hub's dev issuer, from its own command.
func (h *hub) token(t *testing.T, handle, scope string) string {
	t.Helper()
	r := h.vezechat(t, "token", "--handle", handle, "--scope", scope)
	if r.status != 0 || len(r.out) < 40 {
		t.Fatalf("token: status %d, %s", r.status, r.err)
	}
	return r.out[:len(r.out)-1]
}

// rest is a user of the HTTP interface.
func (h *hub) rest(t *testing.T, handle string) client.REST {
	t.Helper()
	return client.REST{URL: h.url, Token: h.token(t, handle, "chat.read chat.write")}
}

func (h *hub) admin(t *testing.T) client.REST {
	t.Helper()
	return client.REST{URL: h.url, Token: h.token(t, "root", "chat.read chat.write chat.admin")}
}

// globalRoom makes a room that everyone may enter.
func (h *hub) globalRoom(t *testing.T) (id int64, name string) {
	t.Helper()
	name = fresh("Orbit ")
	room, err := h.admin(t).CreateRoom(t.Context(), name, vezechat.KindGlobal)
	if err != nil {
		t.Fatal(err)
	}
	return int64(room.ID), name
}

func roomID(id int64) vezechat.RoomID { return vezechat.RoomID(id) }

func userID(t *testing.T, h *hub, handle string) vezechat.UserID {
	t.Helper()
	var me struct {
		User struct {
			ID vezechat.UserID `json:"id"`
		} `json:"user"`
	}
	if err := h.rest(t, handle).Do(t.Context(), "GET", "/auth/me", nil, &me); err != nil {
		t.Fatal(err)
	}
	return me.User.ID
}
