package hub

import (
	"testing"

	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
)

// places do what a map does.
func TestPlaces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p places
		m := map[vezechat.RoomID]*sub{}
		id := rapid.Int64Range(1, 12)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				room, s := vezechat.RoomID(id.Draw(t, "room")), &sub{}
				p.put(room, s)
				m[room] = s
			},
			"remove": func(t *rapid.T) {
				room := vezechat.RoomID(id.Draw(t, "room"))
				p.remove(room)
				delete(m, room)
			},
			"": func(t *rapid.T) {
				for room := range vezechat.RoomID(13) {
					if p.get(room) != m[room] {
						t.Fatalf("room %d: %p, want %p", room, p.get(room), m[room])
					}
				}
				if len(p) != len(m) {
					t.Fatalf("%d places, want %d", len(p), len(m))
				}
			},
		})
	})
}
