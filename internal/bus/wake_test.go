package bus_test

import (
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// Two routers share wakes, and both hear of settings.
func TestWakes_OneHearsAllHearOfSettings(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	b := natstest.Bus(t, s)
	var mu sync.Mutex
	heard := map[vezechat.Wake]int{}
	for _, r := range []interface {
		Wakes(fn func(vezechat.Wake)) (func(), error)
	}{b, natstest.Bus(t, s)} {
		stop, err := r.Wakes(func(w vezechat.Wake) { mu.Lock(); heard[w]++; mu.Unlock() })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	const n = 50
	desk := vezechat.Wake{Kind: vezechat.WakeDesk}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // both listen
		b.Wake(desk)
		mu.Lock()
		all := heard[desk]
		mu.Unlock()
		if all >= 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody hears")
		}
	}
	for i := range n {
		b.Wake(vezechat.Wake{Kind: vezechat.WakeTicket, ID: int64(i + 1)})
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		tickets, most := 0, 0
		for w, k := range heard {
			if w.Kind == vezechat.WakeTicket {
				tickets, most = tickets+1, max(most, k)
			}
		}
		mu.Unlock()
		if most > 1 {
			t.Fatalf("one ticket's wake was heard %d times", most)
		}
		if tickets == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d wakes were heard", tickets, n)
		}
	}
}

func TestParseWake(t *testing.T) {
	t.Parallel()
	for _, w := range []vezechat.Wake{{Kind: vezechat.WakeTicket, ID: 7}, {Kind: vezechat.WakeAgent, ID: 8}, {Kind: vezechat.WakeInbox}, {Kind: vezechat.WakeDesk}, {Kind: vezechat.WakeTimer}} {
		if got, ok := vezechat.ParseWake(vezechat.WakeSubject(w)); !ok || got != w {
			t.Errorf("%+v is read as %+v, %v", w, got, ok)
		}
	}
	for _, s := range []string{"", "veze.wake.", "veze.wake.ticket", "veze.wake.ticket.x", "veze.wake.ticket.-1", "veze.wake.moon.1", "veze.room.1"} {
		if w, ok := vezechat.ParseWake(s); ok {
			t.Errorf("%q is read as %+v", s, w)
		}
	}
}
