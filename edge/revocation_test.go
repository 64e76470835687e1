package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// revocation is a way to lose what one may do: done at one edge, it has to be felt on
// an open socket of another.
type revocation struct {
	name string
	do   func(e *modEdge, room, user int64, who string) // at one edge
	felt func(c *ws, room, user int64) bool             // on a socket in the room at another: true when it is; waits or asks
}

// event is felt when the room's event has come.
func eventFelt(kind string) func(*ws, int64, int64) bool {
	return func(c *ws, _, user int64) bool {
		c.find(kind, func(o object) bool { return o["type"] == kind && o["user_id"] == float64(user) })
		return true
	}
}

// refusedFelt is felt when typing is refused with a code.
func refusedFelt(code vezechat.Code) func(*ws, int64, int64) bool {
	n := 0
	return func(c *ws, room, _ int64) bool {
		n++
		return c.ask(fmt.Sprint("typing", n), `{"type":"typing","room_id":%d}`, room)["code"] == string(code)
	}
}

func closedFelt(code int) func(*ws, int64, int64) bool {
	return func(c *ws, _, _ int64) bool {
		if got := c.closed(); got != code {
			c.t.Errorf("closed with %d, want %d", got, code)
		}
		return true
	}
}

func (e *modEdge) owner(body string, args ...any) {
	e.t.Helper()
	e.must(200, "POST", "/moderation/actions", e.as(alice), fmt.Sprintf(body, args...))
}

func revocations() []revocation {
	return []revocation{
		{"leave", func(e *modEdge, room, _ int64, who string) {
			e.must(204, "POST", fmt.Sprintf("/rooms/%d/leave", room), e.as(who), "")
		}, eventFelt("room.member.left")},
		{"kick", func(e *modEdge, room, user int64, _ string) {
			e.must(204, "DELETE", fmt.Sprintf("/rooms/%d/members/%d", room, user), e.as(alice), "")
		}, eventFelt("room.member.kicked")},
		{"ban of a room", func(e *modEdge, room, user int64, _ string) {
			e.owner(`{"action":"ban","room_id":%d,"user_id":%d}`, room, user)
		}, eventFelt("room.member.banned")},
		{"mute in a room", func(e *modEdge, room, user int64, _ string) {
			e.owner(`{"action":"mute","room_id":%d,"user_id":%d}`, room, user)
		}, eventFelt("room.member.muted")},
		{"mute on the hub", func(e *modEdge, _, user int64, _ string) {
			e.act(200, `{"action":"mute","user_id":%d}`, user)
		}, refusedFelt(vezechat.CodeMuted)},
		{"ban of the hub", func(e *modEdge, _, user int64, _ string) {
			e.act(200, `{"action":"ban","user_id":%d}`, user)
		}, closedFelt(4502)},
	}
}

// member makes somebody who is in a new room, with a socket there.
func (e *modEdge) member(at *modEdge, who string) (c *ws, room, user int64) {
	e.t.Helper()
	user = e.user(who)
	room = e.must(201, "POST", "/rooms", e.as(alice), fmt.Sprintf(`{"name":"Guild of %s","kind":"guild","members":[%d]}`, who, user)).id(e.t)
	c = dial(e.t, at.base, "/ws", at.as(who))
	c.event("hello")
	c.ask("join", `{"type":"join","room_id":%d}`, room)
	return c, room, user
}

// soon is how long it may take from the request at one edge until it is felt at another: a
// second, or what edges take to find it by themselves, on a machine that is busy.
func soon(lost bool) time.Duration {
	if lost {
		return 4 * time.Second
	}
	return time.Second
}

// What is taken from somebody at one edge is taken from their open sockets at another:
// when it is told of, and when every message that tells of it is lost.
func TestRevocation_ReachesOtherEdges(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("told lost %v", lost), func(t *testing.T) {
			t.Parallel()
			w := newModWorld(t)
			w.deaf, w.lossy = lost, lost
			one, two := w.edge(t, "edge-1"), w.edge(t, "edge-2")
			for i, r := range revocations() {
				t.Run(r.name, func(t *testing.T) {
					who := fmt.Sprint("pilot", i)
					c, room, user := one.member(two, who)
					began := time.Now()
					r.do(one, room, user, who)
					two.until("it is felt", func() bool { return r.felt(c, room, user) })
					if took := time.Since(began); took > soon(lost) {
						t.Errorf("it was felt after %v, want %v", took, soon(lost))
					}
					if r.name == "ban of the hub" {
						return
					}
					want := vezechat.CodeNotFound
					if strings.HasPrefix(r.name, "mute") {
						want = vezechat.CodeMuted
					}
					c.refused(1, want, `{"type":"send","room_id":%d,"text":"still here"}`, room)
					if a := two.do("POST", fmt.Sprintf("/rooms/%d/messages", room), two.as(who), `{"text":"still here"}`); a.code(t) != want {
						t.Errorf("over HTTP: %d %s", a.status, a.body)
					}
				})
			}
			t.Run("scopes of a key", func(t *testing.T) {
				admin := one.as(boss, vezechat.ScopeChatAdmin)
				var key struct {
					ID     int64
					Secret string `json:"secret"`
				}
				must(t, json.Unmarshal([]byte(one.must(201, "POST", "/admin/keys", admin, `{"name":"bot","handle":"bot","scopes":["chat.read"]}`).body), &key))
				c := dial(t, two.base, "/ws", http.Header{"Authorization": {"Bearer " + key.Secret}})
				c.event("hello")
				began := time.Now()
				one.must(204, "DELETE", fmt.Sprintf("/admin/keys/%d", key.ID), admin, "")
				if code := c.closed(); code != 4500 {
					t.Errorf("closed with %d", code)
				}
				if took := time.Since(began); took > 2*time.Second { // each edge asks for it every 0.9 s
					t.Errorf("it was felt after %v", took)
				}
			})
		})
	}
}

// How long it takes from the request at one edge until the socket at another feels it.
// Each is somebody else's; what is made before is not measured.
func BenchmarkRevocation(b *testing.B) {
	for _, r := range revocations() {
		b.Run(r.name, func(b *testing.B) {
			w := newModWorld(b)
			fast := edge.Rate{Every: time.Microsecond, Burst: 1 << 20}
			w.limit = edge.Limits{User: fast, Room: fast}
			one, two := w.edge(b, "edge-1"), w.edge(b, "edge-2")
			var took []time.Duration
			for i := range b.N {
				b.StopTimer()
				who := fmt.Sprint("pilot", i)
				c, room, user := one.member(two, who)
				b.StartTimer()
				begun := time.Now()
				r.do(one, room, user, who)
				for !r.felt(c, room, user) {
				}
				took = append(took, time.Since(begun))
				b.StopTimer()
				c.conn.Close()
				b.StartTimer()
			}
			slices.Sort(took)
			ms := func(q float64) float64 {
				return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
			}
			b.ReportMetric(ms(0.5), "p50-ms")
			b.ReportMetric(ms(0.99), "p99-ms")
		})
	}
}
