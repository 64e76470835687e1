package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// gameServer publishes as a game's server does, on the NATS of a hub.
func gameServer(t *testing.T, h *hub) jetstream.JetStream {
	t.Helper()
	at, err := os.ReadFile(filepath.Join(h.data, "nats.url"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(strings.TrimSpace(string(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// says publishes an event of a match, with an id that no other match has.
func says(t *testing.T, js jetstream.JetStream, game, match, id string, e any) {
	t.Helper()
	subject, err := vezechat.GameSubject(game, match)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), subject, body, jetstream.WithMsgID(game+"."+match+"."+id)); err != nil {
		t.Fatal(err)
	}
}

// lines are the texts of a room that somebody sees.
func (h *hub) lines(t *testing.T, handle string, room vezechat.RoomID) (out []string) {
	t.Helper()
	var p struct {
		Messages []struct {
			Text  string   `json:"text"`
			Flags []string `json:"flags"`
		} `json:"messages"`
	}
	if err := h.rest(t, handle).Do(t.Context(), "GET", fmt.Sprintf("/rooms/%d/messages?limit=200", room), nil, &p); err != nil {
		t.Fatal(err)
	}
	for _, m := range p.Messages {
		out = append(out, strings.Join(m.Flags, ",")+"|"+m.Text)
	}
	return out
}

// roomNamed finds a room among somebody's.
func (h *hub) roomNamed(t *testing.T, handle, name string) (id vezechat.RoomID, archived bool) {
	t.Helper()
	var p struct{ Rooms []vezechat.Room }
	for _, q := range []string{"", "?archived=true"} {
		if err := h.rest(t, handle).Do(t.Context(), "GET", "/rooms"+q, nil, &p); err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rooms {
			if r.Name == name {
				return r.ID, r.ArchivedAt != nil
			}
		}
	}
	return 0, false
}

// A game's user publishes what its game says with the password alone, and is told when it
// tries another game; nobody connects without one, and the hub's own parts still do.
func TestGames_Users(t *testing.T) {
	t.Parallel()
	h := own(t, hubOptions{env: []string{"GAME_USERS=cs16:the-secret,tf2:another"}})
	at := strings.TrimPrefix(h.file(t).NatsURL, "nats://")
	if nc, err := nats.Connect("nats://" + at); err == nil {
		nc.Close()
		t.Error("NATS lets anybody in")
	}
	log := filepath.Join(h.dir, "server.log")
	if err := os.WriteFile(log, []byte("L 08/05/2013 - 20:50:50: \"Ann<2><S><CT>\" killed \"Bob<3><S><T>\" with \"usp\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	as := func(user, game string) result {
		return vezechatIn(t, h.dir, []string{"GAME_NATS_URL=nats://" + user + "@" + at}, "killfeed", "--game", game, "--match", "m1", log)
	}
	if r := as("cs16:the-secret", "cs16"); r.status != 0 || !strings.Contains(r.out, "1 published") {
		t.Errorf("its own game: %+v", r)
	}
	if r := as("cs16:the-secret", "tf2"); r.status != 1 || !strings.Contains(r.err, "may not publish to veze.game.tf2.m1") {
		t.Errorf("another game: %+v", r)
	}
	if r := as("cs16:another", "cs16"); r.status != 1 || !strings.Contains(r.err, "uthorization") {
		t.Errorf("a wrong password: %+v", r)
	}
	eventually(t, "the line is stored, and the other game has no room", func() bool {
		return h.query(t, "SELECT string_agg(r.name || ': ' || m.text, ', ') FROM messages m JOIN rooms r ON r.id = m.room_id WHERE r.kind = 'party'") == "cs16/m1: Ann killed Bob with usp"
	})
	if n := h.query(t, "SELECT count(*) FROM rooms WHERE name LIKE 'tf2/%'"); n != "0" {
		t.Errorf("%s rooms of the other game", n)
	}
}

// A match has a room for its players; what its server says are lines there, once and in
// order, and at the end the room is archived. A log that is published by the command
// goes the same way.
func TestGames_Match(t *testing.T) {
	t.Parallel()
	h := shared(t)
	game, player := fresh("cs"), fresh("ann")
	id := userID(t, h, player)
	js := gameServer(t, h)
	says(t, js, game, "m1", "1", map[string]any{"type": "match.opened", "players": []any{
		map[string]any{"user_id": id}, map[string]any{"handle": "@nobody-is-called-so"}}})
	var room vezechat.RoomID
	eventually(t, "the match's room is the player's", func() bool {
		room, _ = h.roomNamed(t, player, game+"/m1")
		return room != 0
	})
	for range 3 { // the game is not sure whether it was heard
		says(t, js, game, "m1", "2", map[string]any{"type": "killfeed", "actor": "Ann", "victim": "Bob", "weapon": "usp"})
	}
	says(t, js, game, "m1", "3", map[string]any{"type": "say", "actor": "Bob", "text": "gg\nwp"})
	says(t, js, game, "m1", "4", map[string]any{"type": "dance"}) // is among the dead letters
	says(t, js, game, "m1", "5", map[string]any{"type": "notice", "text": "Sudden death"})
	want := []string{"killfeed|Ann killed Bob with usp", "say|Bob: gg wp", "notice|Sudden death"}
	eventually(t, "its lines", func() bool { return len(h.lines(t, player, room)) >= len(want) })

	log := filepath.Join(scratch(t), "server.log")
	var text strings.Builder
	for i := range 700 {
		fmt.Fprintf(&text, "L 08/05/2013 - 20:50:50: \"Ann<2><S><CT>\" killed \"Bob<3><S><T>\" with \"w%d\"\r\n", i)
		text.WriteString("L 08/05/2013 - 20:50:51: World triggered \"Round_Start\"\r\n")
	}
	if err := os.WriteFile(log, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r := h.vezechat(t, "killfeed", "--game", game, "--match", "m1", "--run", "r", "--close", log)
	if r.status != 0 || !strings.Contains(r.out, "1400 lines read, 701 published") {
		t.Fatalf("killfeed: %+v", r)
	}
	if r := h.vezechat(t, "killfeed", "--game", game, "--match", "m1", "--run", "r", log); r.status != 0 { // the same run again
		t.Fatalf("killfeed again: %+v", r)
	}
	eventually(t, "the room is archived", func() bool { _, archived := h.roomNamed(t, player, game+"/m1"); return archived })
	got := h.lines(t, player, room)
	for i, line := range got {
		if want := fmt.Sprintf("killfeed|Ann killed Bob with w%d", 700-len(got)+i); line != want {
			t.Fatalf("line %d of the last %d is %q, want %q", i, len(got), line, want)
		}
	}
	if len(got) != 200 {
		t.Errorf("%d lines", len(got))
	}
	if n := h.query(t, fmt.Sprintf("SELECT count(*) FROM messages WHERE room_id = %d", room)); n != "703" {
		t.Errorf("%s lines are stored, want 703", n)
	}
}

// A match is over when somebody archives its room, too: its bridge is told.
func TestGames_RoomArchivedByHand(t *testing.T) {
	t.Parallel()
	h := shared(t)
	game := fresh("cs")
	js := gameServer(t, h)
	stored := func() string {
		return h.query(t, "SELECT coalesce(string_agg(m.text, ','), '') FROM messages m JOIN rooms r ON r.id = m.room_id WHERE r.name = '"+game+"/m1'")
	}
	says(t, js, game, "m1", "1", map[string]any{"type": "notice", "text": "in time"})
	eventually(t, "the line is stored", func() bool { return stored() == "in time" })
	room := h.query(t, "SELECT id FROM rooms WHERE name = '"+game+"/m1'")
	admin := client.REST{URL: h.url, Token: h.token(t, fresh("admin"), "chat.read chat.write chat.admin")}
	if err := admin.Do(t.Context(), "DELETE", "/rooms/"+room, nil, nil); err != nil {
		t.Fatal(err)
	}
	says(t, js, game, "m1", "2", map[string]any{"type": "notice", "text": "too late"})
	eventually(t, "it is a dead letter", func() bool {
		st, err := js.Stream(t.Context(), vezechat.StreamDLQ)
		if err != nil {
			t.Fatal(err)
		}
		m, err := st.GetLastMsgForSubject(t.Context(), "veze.dlq.game.game."+game+".m1")
		return err == nil && strings.Contains(string(m.Data), "is closed")
	})
	if got := stored(); got != "in time" {
		t.Errorf("the room has %q", got)
	}
}
