package edge_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// New rules come into force while people write at two edges: each edge judges by the old
// ones or the new ones and never goes back, nothing that is innocent is refused or lost,
// and it takes no restart; also when nobody is told of the change.
func TestRules_ChangeUnderLoad(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("notices lost %v", deaf), func(t *testing.T) {
			t.Parallel()
			w := newModWorld(t)
			fast := edge.Rate{Every: time.Microsecond, Burst: 1 << 20}
			w.deaf, w.guards, w.limit = deaf, true, edge.Limits{User: fast, Room: fast}
			one, two := w.edge(t, "edge-1"), w.edge(t, "edge-2")
			room := one.room()
			rules := guardRules()
			rules.Spam = vezechat.SpamLimits{Window: 10}
			rules.Lists = nil
			kept := int64(0)
			put := func() {
				t.Helper()
				doc, err := json.Marshal(rules)
				must(t, err)
				one.must(200, "PUT", "/moderation/rules", one.as(boss, vezechat.ScopeChatAdmin), fmt.Sprintf(`{"version":%d,"rules":%s}`, kept, doc))
				kept++
			}
			put() // no words at all
			e := []*modEdge{one, two}
			for _, e := range e {
				e.until("the first rules are in force", func() bool {
					return e.do("POST", fmt.Sprintf("/rooms/%d/messages", room), e.as(alice), `{"text":"kwaffel"}`).status == 201
				})
			}
			var stop atomic.Bool
			var said, refused [2]atomic.Int64
			var wg sync.WaitGroup
			for i, e := range e {
				c := dial(t, e.base, "/ws", e.as([]string{alice, bob}[i]))
				c.event("hello")
				wg.Go(func() {
					turned := false
					for n := 0; !stop.Load(); n++ {
						time.Sleep(5 * time.Millisecond)
						c.left = nil
						if o := c.ask(n, `{"type":"send","room_id":%d,"text":"innocent %d","nonce":"i%d-%d"}`, room, n, i, n); o["type"] != "ok" {
							t.Errorf("edge %d: something innocent: %v", i, o)
							return
						}
						said[i].Add(1)
						switch o := c.ask(-1-n, `{"type":"send","room_id":%d,"text":"you kwaffel","nonce":"k%d-%d"}`, room, i, n); {
						case o["code"] == "blocked_content":
							turned = true
							refused[i].Add(1)
						case o["type"] != "ok" || turned:
							t.Errorf("edge %d: after new rules %v: %v", i, turned, o)
							return
						}
					}
				})
			}
			one.until("both edges are busy", func() bool { return said[0].Load() > 20 && said[1].Load() > 20 })
			rules.Lists = guardRules().Lists
			put()
			one.until("both edges have the new rules", func() bool { return refused[0].Load() > 20 && refused[1].Load() > 20 || t.Failed() })
			stop.Store(true)
			wg.Wait()
			two.until("storage has the end", func() bool {
				var n int64
				must(t, w.pool.QueryRow(t.Context(), `SELECT count(*) FROM messages WHERE room_id = $1 AND text LIKE 'innocent %'`, room).Scan(&n))
				return n == said[0].Load()+said[1].Load()
			})
		})
	}
}
