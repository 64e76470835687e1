package edge_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

func from(ip string) http.Header { return http.Header{"X-Forwarded-For": {ip}} }

// asks is a call of one address, and how it is answered.
type asks struct {
	method, path, body string
	header             http.Header
	want               int
}

func TestDoor_Limits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) {
		c.Door = edge.DoorLimits{SignIn: edge.PerMinute(2), Anonymous: edge.PerMinute(5)}
	})
	bad := with(from("192.0.2.7"), "Authorization", "Bearer nonsense")
	cookie := with(from("192.0.2.10"), "Cookie", "veze_session=nonsense")
	guest := with(from("192.0.2.11"), "Cookie", "veze_guest=nonsense")
	basic := with(from("192.0.2.12"), "Authorization", "Basic bm9uc2Vuc2U=")
	for i, a := range []asks{
		{"POST", "/auth/dev", `{"handle":"a"}`, from("192.0.2.1"), 200},
		{"POST", "/auth/dev", `{"handle":"b"}`, from("192.0.2.1"), 200},
		{"POST", "/auth/dev", `{"handle":"c"}`, from("192.0.2.1"), 429},
		{"POST", "/auth/dev", `{"handle":"c"}`, from("192.0.2.2"), 200},
		{"POST", "/auth/dev", `{"handle":"c"}`, from("2001:db8::1"), 200},
		{"POST", "/auth/dev", `{"handle":"d"}`, from("2001:db8::ffff"), 200},
		{"POST", "/auth/dev", `{"handle":"c"}`, from("2001:db8:0:0:1::2"), 429}, // the same 64 bits
		{"POST", "/auth/dev", `{"handle":"c"}`, from("::ffff:192.0.2.1"), 429},  // the same as 192.0.2.1

		{"GET", "/docs", "", from("192.0.2.1"), 200}, // four of its five were those above
		{"GET", "/docs", "", from("192.0.2.1"), 429},
		{"GET", "/health", "", from("192.0.2.1"), 200},
		{"GET", "/rooms", "", with(w.as(alice), "X-Forwarded-For", "192.0.2.1"), 200}, // who is known is not slowed down by others
		{"GET", "/docs", "", with(from("192.0.2.9, 192.0.2.1")), 429},                 // what stands before it anybody may have written

		{"GET", "/rooms", "", bad, 401},
		{"GET", "/rooms", "", bad, 401},
		{"GET", "/rooms", "", bad, 401},
		{"GET", "/rooms", "", bad, 401},
		{"GET", "/rooms", "", bad, 401},
		{"GET", "/rooms", "", bad, 429},

		{"GET", "/docs", "", from("127.0.0.1, 10.0.0.9"), 200}, // of a network whose proxies are trusted
		{"GET", "/docs", "", from("10.0.0.9"), 200},
		{"GET", "/docs", "", from("::1, 10.0.0.9"), 200},
		{"GET", "/docs", "", from("::ffff:127.0.0.1, 10.0.0.9"), 200},
		{"GET", "/docs", "", from("127.0.0.1, 10.0.0.9"), 200},
		{"GET", "/docs", "", from("127.0.0.1, 10.0.0.9"), 429},

		{"GET", "/docs", "", cookie, 200}, // a word that is not good is none, also where nobody is asked for one
		{"GET", "/docs", "", cookie, 200},
		{"GET", "/docs", "", cookie, 200},
		{"GET", "/rooms", "", cookie, 401},
		{"GET", "/rooms", "", cookie, 401},
		{"GET", "/rooms", "", cookie, 429},
		{"GET", "/docs", "", cookie, 429},
		{"GET", "/support", "", guest, 200},
		{"GET", "/docs", "", guest, 200},
		{"GET", "/docs", "", guest, 200},
		{"GET", "/docs", "", guest, 200},
		{"GET", "/docs", "", guest, 200},
		{"GET", "/docs", "", guest, 429},
		{"GET", "/docs", "", basic, 200},
		{"GET", "/docs", "", basic, 200},
		{"GET", "/docs", "", basic, 200},
		{"GET", "/docs", "", basic, 200},
		{"GET", "/docs", "", basic, 200},
		{"GET", "/docs", "", basic, 429},
	} {
		got := w.do(a.method, a.path, a.header, a.body)
		if got.status != a.want {
			t.Errorf("%d: %s %s from %v: %d %s, want %d", i, a.method, a.path, a.header, got.status, got.body, a.want)
		}
		if got.status != 429 {
			continue
		}
		if secs, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || secs < 1 || secs > 60 || got.code(t) != vezechat.CodeRateLimited {
			t.Errorf("%d: Retry-After %q, %s", i, got.header.Get("Retry-After"), got.body)
		}
	}
	w.clock.Add(time.Minute)
	if a := w.do("POST", "/auth/dev", from("192.0.2.1"), `{"handle":"a"}`); a.status != 200 {
		t.Errorf("a minute later: %d", a.status)
	}
	for range 20 { // this machine's own
		if a := w.do("GET", "/docs", from("127.0.0.1"), ""); a.status != 200 {
			t.Fatalf("on loopback: %d", a.status)
		}
	}
}

// askedKeys counts the questions for keys, one of which is good.
type askedKeys struct {
	vezechat.KeyService
	good  string
	asked atomic.Int64
}

func (k *askedKeys) FindKey(_ context.Context, d vezechat.KeyDigest) (vezechat.APIKey, error) {
	k.asked.Add(1)
	if good, _ := vezechat.DigestKey(k.good); bytes.Equal(d.Hash, good.Hash) {
		return vezechat.APIKey{ID: 1, User: 9, Handle: "@bot", Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}, nil
	}
	return vezechat.APIKey{}, vezechat.Errorf(vezechat.CodeUnauthorized, "the token is not valid here")
}

// How often storage is asked for keys that are not good is bounded for all together: one
// address that makes keys up has only its own share of it. Who has a key there that is in
// use does not notice.
func TestDoor_KeysMadeUp(t *testing.T) {
	t.Parallel()
	keys := &askedKeys{good: vezechat.NewKey()}
	w := newWorld(t, func(c *edge.Config) {
		c.Door = edge.DoorLimits{Anonymous: edge.PerMinute(5)}
		c.Keys = keys
	})
	known := with(from("192.0.2.1"), "Authorization", "Bearer "+keys.good)
	if a := w.do("GET", "/rooms", known, ""); a.status != 200 {
		t.Fatalf("a good key: %d %s", a.status, a.body)
	}
	for i := range 20 {
		want := 401
		if i >= 5 {
			want = 429
		}
		if a := w.do("GET", "/rooms", with(from("192.0.2.1"), "Authorization", "Bearer "+vezechat.NewKey()), ""); a.status != want {
			t.Errorf("%d: %d %s, want %d", i, a.status, a.body, want)
		}
	}
	if a := w.do("GET", "/rooms", known, ""); a.status != 200 {
		t.Errorf("the key that is in use: %d %s", a.status, a.body)
	}
	if n := keys.asked.Load(); n != 6 {
		t.Errorf("storage was asked %d times, want 6", n)
	}
}

// However many addresses come, what is remembered of them is bounded, and the door
// goes on.
func TestDoor_RememberedIsBounded(t *testing.T) {
	t.Parallel()
	d := edge.NewTestDoor(edge.DoorLimits{Max: 100}, prometheus.NewRegistry())
	for i := range 10_000 {
		must(t, d.Take(edge.PerMinute(1), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), start))
		if n := d.Remembered(); n > 100 {
			t.Fatalf("%d entries after %d addresses", n, i+1)
		}
	}
	for _, again := range []struct {
		address string
		want    vezechat.Code
	}{
		{"10.0.39.15", vezechat.CodeRateLimited},  // the last
		{"10.0.38.202", vezechat.CodeRateLimited}, // of the last hundred
		{"10.0.38.42", ""},                        // long forgotten
	} {
		if err := d.Take(edge.PerMinute(1), again.address, start); vezechat.CodeOf(err) != again.want {
			t.Errorf("%s again: %v, want %q", again.address, err, again.want)
		}
	}
}

func TestDoor_Sockets(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t, func(s settings) {
		s.edge.TrustedProxies = nil // loopback is one
		s.edge.Door = edge.DoorLimits{Connect: edge.PerMinute(6), AddressSockets: 2, UserSockets: 3}
	})
	base, _ := w.serve(t)
	open := func(ip, who string, want int) *ws {
		t.Helper()
		res, c := upgrade(t, base, "/ws", with(w.as(who), "X-Forwarded-For", ip))
		if res.StatusCode != want {
			t.Fatalf("from %s: %s, want %d", ip, res.Status, want)
		}
		if want == 429 && res.Header.Get("Retry-After") == "" {
			t.Error("it does not say when to come back")
		}
		if c != nil {
			c.find("hello", func(o object) bool { return o["type"] == "hello" })
		}
		return c
	}
	first := open("192.0.2.1", alice, 101)
	second := open("192.0.2.1", alice, 101)
	open("192.0.2.1", bob, 429) // two are open there
	open("192.0.2.2", alice, 101)
	open("192.0.2.3", alice, 101) // her fourth
	if code := first.closed(); code != 4503 {
		t.Errorf("the oldest is closed with %d, want 4503", code)
	}
	deadline := time.Now().Add(20 * time.Second)
	for w.edge.Sockets() > 3 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	open("192.0.2.1", bob, 101) // its place is free again
	open("192.0.2.1", bob, 429)
	open("192.0.2.1", bob, 429)
	open("192.0.2.1", bob, 429) // six were tried, and the rate counts
	for range 7 {               // this machine's own: none is refused, and none replaced
		open("127.0.0.1", bob, 101)
	}
	open("192.0.2.2", alice, 101) // her fourth again
	if code := second.closed(); code != 4503 {
		t.Errorf("the next oldest is closed with %d, want 4503", code)
	}
	for limit, want := range map[string]float64{"connect": 1, "address_sockets": 3, "user_sockets": 2} {
		if n := testutil.ToFloat64(w.edge.DoorRefusals(limit)); n != want {
			t.Errorf("%s refused %v, want %v", limit, n, want)
		}
	}
}

// Who comes from many addresses is still one user.
func TestDoor_UsersOfManyAddresses(t *testing.T) {
	t.Parallel()
	limits := edge.DoorLimits{SignIn: edge.PerMinute(3), Connect: edge.PerMinute(4)}
	w := newWorld(t, func(c *edge.Config) { c.Door = limits })
	n := 0
	next := func() http.Header { n++; return from(fmt.Sprintf("192.0.2.%d", n)) }
	for i := range 4 {
		want := 200
		if i == 3 {
			want = 429
		}
		if a := w.do("POST", "/auth/dev", next(), `{"handle":"alice"}`); a.status != want {
			t.Errorf("sign-in %d: %d %s, want %d", i, a.status, a.body, want)
		}
	}
	if a := w.do("POST", "/auth/dev", next(), `{"handle":"bob"}`); a.status != 200 {
		t.Errorf("somebody else: %d %s", a.status, a.body)
	}
	if testutil.ToFloat64(w.edge.DoorRefusals("user_sign_in")) != 1 {
		t.Error("the sign-in that was refused is not counted")
	}
	s := newSocketWorld(t, func(s settings) {
		s.edge.TrustedProxies = nil // loopback is one
		s.edge.Door = limits
	})
	base, _ := s.serve(t)
	for range 4 {
		if res, _ := upgrade(t, base, "/ws", with(next(), "Authorization", s.as(alice).Get("Authorization"))); res.StatusCode != 101 {
			t.Fatal(res.Status)
		}
	}
	if res, _ := upgrade(t, base, "/ws", with(next(), "Authorization", s.as(alice).Get("Authorization"))); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("the fifth socket: %s %v", res.Status, res.Header)
	}
	late := dial(t, base, "/ws", next())
	late.say(`{"type":"auth","token":%q}`, s.token(alice))
	if code := late.closed(); code != 4007 {
		t.Errorf("the fifth socket, by its first frame: closed with %d", code)
	}
	if testutil.ToFloat64(s.edge.DoorRefusals("user_connect")) != 2 {
		t.Error("the sockets that were refused are not counted")
	}
}
