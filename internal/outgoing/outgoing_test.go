package outgoing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/outgoing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPublic(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700:4700::1111": true, "::ffff:8.8.8.8": true, "100.63.255.255": true, "172.32.0.1": true, "169.253.0.1": true,

		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "fc00::1": false, "fd12::1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "224.0.0.1": false, "239.255.255.255": false, "ff02::1": false,
		"100.64.0.1": false, "100.127.255.255": false, "255.255.255.255": false, "240.0.0.1": false, "192.0.2.1": false, "198.18.0.1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001:0:1::1": false, "2001:db8::1": false, "fec0::1": false,
	} {
		if got := outgoing.Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: public is %v, want %v", addr, got, want)
		}
	}
	if outgoing.Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// names answers each question for an address with the next of a list, and with the
// last one for ever.
func names(t *testing.T, addrs ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf, asked := make([]byte, 1500), 0
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
				continue
			}
			q.Response, q.Additionals = true, nil
			if q.Questions[0].Type == dnsmessage.TypeA {
				q.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addrs[min(asked, len(addrs)-1)]).As4()},
				}}
				asked++
			}
			if b, err := q.Pack(); err == nil {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func client(t *testing.T, c outgoing.Config) *outgoing.Client {
	t.Helper()
	out, err := outgoing.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	return out
}

func get(t *testing.T, c *outgoing.Client, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// secret is a server inside: it counts who got to it.
func secret(t *testing.T, h http.HandlerFunc) (s *httptest.Server, port string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return s, port, asked
}

func inside(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") }

func TestClient_RefusesWhatIsInside(t *testing.T) {
	t.Parallel()
	_, port, asked := secret(t, inside)
	c := client(t, outgoing.Config{Resolver: names(t, "127.0.0.1")})
	for _, url := range []string{
		"http://127.0.0.1:" + port, "http://[::1]:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://0.0.0.0:" + port, "http://localhost:" + port,
		"http://2130706433:" + port, "http://0x7f.1:" + port, "http://127.1:" + port, "http://rebound.example:" + port,
		"http://169.254.169.254/latest/meta-data", "ftp://example.com", "file:///etc/passwd", "http://user:password@example.com", "http:///x", "gopher://x",
	} {
		if body, err := get(t, c, url); vezechat.CodeOf(err) != vezechat.CodeBadRequest && vezechat.CodeOf(err) != vezechat.CodeUnavailable || body != "" {
			t.Errorf("%s: %q, %v", url, body, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests got inside", n)
	}
	for url, ok := range map[string]bool{"https://example.com/hook": true, "http://10.0.0.1/": false, "javascript:alert(1)": false, "http://[fe80::1]/": false, "%": false} {
		if err := c.Check(url); (err == nil) != ok || !ok && vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s is typed: %v", url, err)
		}
	}
}

// A name that was harmless when somebody looked, and leads inside when it is dialled.
func TestClient_RebindingGainsNothing(t *testing.T) {
	t.Parallel()
	_, port, asked := secret(t, inside)
	resolver := names(t, "8.8.8.8", "127.0.0.1")
	first, err := resolver.LookupNetIP(t.Context(), "ip4", "turns.example")
	if err != nil || !outgoing.Public(first[0]) {
		t.Fatalf("%v, %v", first, err)
	}
	c := client(t, outgoing.Config{Resolver: resolver})
	_, err = get(t, c, "http://turns.example:"+port)
	if !errors.Is(err, outgoing.ErrPrivate) || asked.Load() != 0 {
		t.Errorf("%v, and %d requests got inside", err, asked.Load())
	}
}

func TestClient_RedirectsAreLookedAt(t *testing.T) {
	t.Parallel()
	_, port, asked := secret(t, inside)
	to := ""
	door, doorPort, _ := secret(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	c := client(t, outgoing.Config{Allow: []string{"127.0.0.1:" + doorPort}, Resolver: names(t, "127.0.0.1")})
	for _, to = range []string{"http://127.0.0.1:" + port, "http://inside.example:" + port, "file:///etc/passwd", "http://a:b@127.0.0.1:" + doorPort, door.URL} {
		if body, err := get(t, c, door.URL); err == nil {
			t.Errorf("to %s: %q", to, body)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests got inside", asked.Load())
	}
}

func TestClient_AllowedAreAsked(t *testing.T) {
	t.Parallel()
	_, port, _ := secret(t, inside)
	for _, tt := range []struct{ allow, host, not string }{
		{"127.0.0.1", "127.0.0.1", ""},
		{"127.0.0.0/8", "127.0.0.1", ""},
		{"hooks.example", "hooks.example", "other.example"},
		{"Hooks.Example:" + port, "hooks.example", "127.0.0.1"},
		{"127.0.0.1:" + port, "127.0.0.1", ""},
	} {
		c := client(t, outgoing.Config{Allow: []string{tt.allow}, Resolver: names(t, "127.0.0.1")})
		if body, err := get(t, c, "http://"+tt.host+":"+port); err != nil || body != "inside" {
			t.Errorf("%s allows %s: %q, %v", tt.allow, tt.host, body, err)
		}
		if tt.not == "" {
			continue
		}
		if _, err := get(t, c, "http://"+tt.not+":"+port); err == nil {
			t.Errorf("%s allows %s", tt.allow, tt.not)
		}
	}
	for _, wrong := range []string{"", "http://x", "a b", "*.example", "10.0.0.0/99"} {
		if err := outgoing.ParseAllowed([]string{wrong}); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func TestClient_Bounds(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	s, port, _ := secret(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-ended:
			}
		case "/exact":
			_, _ = io.WriteString(w, strings.Repeat("x", 1000))
		default:
			_, _ = io.WriteString(w, strings.Repeat("x", 1001))
		}
	})
	t.Cleanup(func() { close(ended) })
	c := client(t, outgoing.Config{Allow: []string{"127.0.0.1:" + port}, MaxAnswer: 1000, Timeout: 200 * time.Millisecond})
	if body, err := get(t, c, s.URL+"/exact"); err != nil || len(body) != 1000 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if body, err := get(t, c, s.URL); !errors.Is(err, outgoing.ErrTooLong) || len(body) != 1000 {
		t.Errorf("too long: %d bytes, %v", len(body), err)
	}
	if _, err := get(t, c, s.URL+"/slow"); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
		t.Errorf("slow: %v", err)
	}
}

// The example of the standard's own libraries, so that others verify what we sign.
func TestSign_KnownAnswer(t *testing.T) {
	t.Parallel()
	s, err := outgoing.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	at := time.Unix(1614265330, 0)
	outgoing.Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, []byte(`{"test": 2432232314}`), s)
	if got := h.Get("webhook-signature"); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signature %q", got)
	}
	if err := outgoing.Verify(h, at.Add(outgoing.Tolerance), []byte(`{"test": 2432232314}`), s); err != nil {
		t.Error(err)
	}
}

func TestVerify_Refuses(t *testing.T) {
	t.Parallel()
	now, body, secret := time.Unix(1_800_000_000, 0), []byte("hello"), outgoing.NewSecret()
	signed := func(change func(h http.Header)) http.Header {
		h := http.Header{}
		outgoing.Sign(h, "id-1", now, body, outgoing.NewSecret(), secret) // rotated: the second one is known
		change(h)
		return h
	}
	for _, tt := range []struct {
		name   string
		change func(h http.Header)
		now    time.Time
		body   string
		ok     bool
	}{
		{"as it was signed", func(http.Header) {}, now, "hello", true},
		{"another body", func(http.Header) {}, now, "hallo", false},
		{"another id", func(h http.Header) { h.Set("webhook-id", "id-2") }, now, "hello", false},
		{"an id that moves the dot", func(h http.Header) { h.Set("webhook-id", "id-1.1") }, now, "hello", false},
		{"no id", func(h http.Header) { h.Del("webhook-id") }, now, "hello", false},
		{"another time", func(h http.Header) { h.Set("webhook-timestamp", "1800000001") }, now, "hello", false},
		{"no time", func(h http.Header) { h.Del("webhook-timestamp") }, now, "hello", false},
		{"too late", func(http.Header) {}, now.Add(outgoing.Tolerance + time.Second), "hello", false},
		{"too early", func(http.Header) {}, now.Add(-outgoing.Tolerance - time.Second), "hello", false},
		{"no signature", func(h http.Header) { h.Del("webhook-signature") }, now, "hello", false},
		{"another version", func(h http.Header) {
			h.Set("webhook-signature", strings.ReplaceAll(h.Get("webhook-signature"), "v1,", "v2,"))
		}, now, "hello", false},
		{"a thousand signatures before it", func(h http.Header) {
			h.Set("webhook-signature", strings.Repeat("v1,AAAA ", 1000)+h.Get("webhook-signature"))
		}, now, "hello", false},
	} {
		if err := outgoing.Verify(signed(tt.change), tt.now, []byte(tt.body), secret); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := outgoing.Verify(signed(func(http.Header) {}), now, body, outgoing.Secret{}); err == nil {
		t.Error("no secret at all is taken")
	}
}

func TestSecret_HidesItself(t *testing.T) {
	t.Parallel()
	s := outgoing.NewSecret()
	if shown := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); strings.Contains(shown, s.Reveal()[6:]) {
		t.Errorf("shown as %s", shown)
	}
	back, err := outgoing.ParseSecret(s.Reveal())
	if err != nil || back.Reveal() != s.Reveal() {
		t.Errorf("%v", err)
	}
	for _, wrong := range []string{"", "whsec_", "whsec_AAAA", "whsec_!!", strings.Repeat("A", 400)} {
		if _, err := outgoing.ParseSecret(wrong); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
