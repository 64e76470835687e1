package edge_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/edge/signin"
)

// The attacks of docs/attacks.md that no other test makes.

// tokens makes tokens for a hub whose provider has one RSA key, good and bad.
type tokens struct {
	t      *testing.T
	key    *rsa.PrivateKey
	issuer string
	now    time.Time
}

func (m *tokens) sign(alg jose.SignatureAlgorithm, key any, head map[jose.HeaderKey]any, over map[string]any) string {
	m.t.Helper()
	claims := map[string]any{
		"iss": m.issuer, "sub": "u1", "aud": audience, "preferred_username": alice, "scope": "chat.read chat.write",
		"iat": m.now.Unix(), "exp": m.now.Add(time.Hour).Unix(),
	}
	for k, v := range over {
		claims[k] = v
	}
	opts := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"kid": "k1"}}
	for k, v := range head {
		opts.ExtraHeaders[k] = v
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	must(m.t, err)
	tok, err := jwt.Signed(s).Claims(claims).Serialize()
	must(m.t, err)
	return tok
}

// bad are tokens that nobody is to be let in with.
func (m *tokens) bad() map[string]string {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	must(m.t, err)
	pkix, err := x509.MarshalPKIXPublicKey(m.key.Public())
	must(m.t, err)
	pkcs1 := x509.MarshalPKCS1PublicKey(&m.key.PublicKey)
	jwk, err := (&jose.JSONWebKey{Key: m.key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}).MarshalJSON()
	must(m.t, err)
	good := strings.Split(m.sign(jose.RS256, m.key, nil, nil), ".")
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	out := map[string]string{
		"forged":                 m.sign(jose.RS256, other, nil, nil),
		"brings its own key":     m.sign(jose.RS256, other, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: other.Public()}}, nil),
		"says where its key is":  m.sign(jose.RS256, other, map[jose.HeaderKey]any{"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/x"}, nil),
		"a key id that is a way": m.sign(jose.RS256, other, map[jose.HeaderKey]any{"kid": "../../../../dev/null"}, nil),
		"expired":                m.sign(jose.RS256, m.key, nil, map[string]any{"exp": m.now.Add(-2 * time.Minute).Unix()}),
		"not yet":                m.sign(jose.RS256, m.key, nil, map[string]any{"nbf": m.now.Add(time.Hour).Unix()}),
		"wrong audience":         m.sign(jose.RS256, m.key, nil, map[string]any{"aud": "another"}),
		"wrong issuer":           m.sign(jose.RS256, m.key, nil, map[string]any{"iss": "https://evil.example"}),
		"alg none":               b64(`{"alg":"none","kid":"k1"}`) + "." + good[1] + ".",
		"alg NONE, signed":       b64(`{"alg":"NONE","kid":"k1"}`) + "." + good[1] + "." + good[2],
		"other claims":           good[0] + "." + b64(`{"iss":"`+m.issuer+`","aud":"`+audience+`","sub":"root","scope":"chat.admin","exp":9999999999}`) + "." + good[2],
		"critical and unknown":   b64(`{"alg":"RS256","kid":"k1","crit":["x"],"x":1}`) + "." + good[1] + "." + good[2],
	}
	// The public key is no secret: who takes the algorithm from the token takes this.
	for form, secret := range map[string][]byte{
		"PEM":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
		"PEM, cut":  []byte(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})))),
		"PKCS1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"DER":       pkix, "PKCS1": pkcs1, "JWK": jwk, "modulus": m.key.N.Bytes(),
	} {
		for _, alg := range []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512} {
			if len(secret) >= 64 {
				out["key confused, "+string(alg)+" "+form] = m.sign(alg, secret, nil, nil)
			}
		}
	}
	return out
}

// No door takes a bad token: a request's header, a socket's, and its first frame. The
// keys come from a provider over HTTP, as they do in a hub that runs.
func TestAttack_Tokens(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	at := withKeys(t, key)
	w := newSocketWorld(t, func(s settings) {
		p, err := signin.New(signin.Config{
			Issuer: at, ClientID: "hub", RedirectURL: "http://example.com/auth/callback", Audience: audience, Now: s.edge.Now,
			Registerer: prometheus.NewRegistry(),
		})
		must(t, err)
		s.edge.Verifier, err = identity.NewTokens(s.edge.Now, p.Issuer())
		must(t, err)
	})
	base, _ := w.serve(t)
	m := &tokens{t, key, at, w.clock.Now()}
	bearer := func(tok string) http.Header { return http.Header{"Authorization": {"Bearer " + tok}} }
	good := m.sign(jose.RS256, key, nil, nil)
	if a := w.do("GET", "/auth/me", bearer(good), ""); a.status != 200 || !strings.Contains(a.body, "@alice") {
		t.Fatalf("a good token: %d %s", a.status, a.body)
	}
	for name, tok := range m.bad() {
		if a := w.do("GET", "/auth/me", bearer(tok), ""); a.status != 401 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		res, c := upgrade(t, base, "/ws", bearer(tok))
		if c != nil || res.StatusCode != 401 {
			t.Errorf("%s: a socket: %d", name, res.StatusCode)
		}
		late := dial(t, base, "/ws", nil)
		late.say(`{"type":"auth","token":%q}`, tok)
		if code := late.closed(); code != 4500 {
			t.Errorf("%s: in a socket's first frame: closed with %d", name, code)
		}
		if a := w.do("GET", "/auth/me?access_token="+tok, nil, ""); a.status != 401 {
			t.Errorf("%s: in the address: %d", name, a.status)
		}
	}
	if a := w.do("GET", "/auth/me?access_token="+good, nil, ""); a.status != 401 {
		t.Errorf("a good token in the address, which is logged everywhere: %d", a.status)
	}
}

// nowhereID is of no room, ticket, message or offer.
const nowhereID = "899999"

var (
	pathID = regexp.MustCompile(`/(rooms|tickets|offers)/(\d+)`)
	anyID  = regexp.MustCompile(`[A-Z2-7]{26}|\d+`) // that of the request, too
)

// likeNone replaces the rooms, tickets and offers that a call is about by none at all.
func likeNone(call string) string {
	call = pathID.ReplaceAllString(call, "/$1/"+nowhereID)
	call = regexp.MustCompile(`(room=|"room_id":|"ticket_id":)\d+`).ReplaceAllString(call, "${1}"+nowhereID)
	return call
}

// Whoever guesses the number of a room, ticket or message that they may not see gets
// the answer of one that does not exist, to the byte: by every route and every
// operation that answers a stranger with 404.
func TestAttack_GuessedIDs(t *testing.T) {
	t.Parallel()
	w := newWalker(t, true)
	base, _ := w.serve(t)
	const user = 2 // of roles
	same := func(what, real, none string) {
		t.Helper()
		if real, none = anyID.ReplaceAllString(real, "N"), anyID.ReplaceAllString(none, "N"); real != none {
			t.Errorf("%s: of one that there is %s, of none %s", what, real, none)
		}
	}
	told := func(a answer) string {
		a.header.Del("Date")
		a.header.Del("X-Request-Id")
		return fmt.Sprint(a.status, a.header, a.body)
	}
	asked := 0
	for _, r := range rules {
		if r.who[user] != 'n' || likeNone(strings.NewReplacer("{room}", "1", "{dm}", "1", "{asked}", "1", "{notes}", "1", "{visit}", "1", "{visited}", "1", "{ticket}", "1",
			"{spoken}", "1", "{closed}", "1", "{solved}", "1", "{offer}", "1", "{inviting}", "1").Replace(r.call+r.body)) == r.call+r.body {
			continue
		}
		call, body := w.filled(r, roles[user])
		noCall, noBody := likeNone(call), likeNone(body)
		if noCall == call && noBody == body {
			continue // it names none
		}
		asked++
		method, path, _ := strings.Cut(call, " ")
		_, noPath, _ := strings.Cut(noCall, " ")
		h := w.header(roles[user])
		same(r.call, told(w.do(method, path, h, body)), told(w.do(method, noPath, h, noBody)))
		page := with(h, "Accept", "text/html")
		if method == "GET" {
			same(r.call+" as a page", told(w.do(method, path, page, body)), told(w.do(method, noPath, page, noBody)))
		}
	}
	c := dial(t, base, "/ws", w.header(roles[user]))
	c.event("hello")
	for _, r := range operations {
		if r.who[user] != 'n' {
			continue
		}
		asked++
		_, body := w.filled(r, roles[user])
		real := c.ask("r", `{"type":"`+r.call+`",`+body[1:])
		none := c.ask("r", `{"type":"`+r.call+`",`+likeNone(body)[1:])
		same(r.call, fmt.Sprint(real), fmt.Sprint(none))
	}
	if asked < 60 {
		t.Errorf("%d calls were compared: this test looks in the wrong place", asked)
	}

	// A message of another room is none of one's own, whatever is done to it.
	at := w.guild()
	elsewhere := w.said(w.guild(), w.as(peer))
	member := w.header("member")
	for _, call := range []string{
		"GET %s/messages/%s", "PATCH %s/messages/%s", "DELETE %s/messages/%s", "PUT %s/messages/%s/reactions/🚀", "POST %s/messages/%s/report",
	} {
		ask := func(id string) string {
			method, path, _ := strings.Cut(fmt.Sprintf(strings.ReplaceAll(call, "🚀", "%%F0%%9F%%9A%%80"), at, id), " ")
			a := w.do(method, path, member, `{"text":"x","reason":"spam"}`)
			if a.status != 404 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
			return told(a)
		}
		same(call, ask(elsewhere), ask(nowhereID))
	}
	same("a reply", told(w.do("POST", at+"/messages", member, `{"text":"x","reply_to":`+elsewhere+`}`)), told(w.do("POST", at+"/messages", member, `{"text":"x","reply_to":`+nowhereID+`}`)))
}

// Whoever has left a room, or was put out of it, hears, reads and does nothing there any
// more, by no way that they had when they were in it.
func TestAttack_AfterLeaving(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	one, two := w.edge(t, "edge-1"), w.edge(t, "edge-2")
	for _, how := range []string{"leave", "kick", "ban"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			who := "one who was to " + how
			id := one.user(who)
			room := one.must(201, "POST", "/rooms", one.as(alice), fmt.Sprintf(`{"name":"Guild of %s","kind":"guild","members":[%d]}`, how, id)).id(t)
			at := fmt.Sprintf("/rooms/%d", room)
			mine := one.must(201, "POST", at+"/messages", one.as(who), `{"text":"whisper of mine"}`).id(t)
			one.must(200, "GET", fmt.Sprintf("%s/messages?min=%d", at, mine), one.as(who), "")
			open := dial(t, two.base, "/ws", two.as(who))
			open.ask(1, `{"type":"join","room_id":%d,"after":0}`, room)
			open.find("the message", func(o object) bool { return o["text"] == "whisper of mine" })
			switch how {
			case "leave":
				one.must(204, "POST", at+"/leave", one.as(who), "")
			case "kick":
				one.must(204, "DELETE", fmt.Sprintf("%s/members/%d", at, id), one.as(alice), "")
			case "ban":
				one.must(200, "POST", "/moderation/actions", one.as(alice), fmt.Sprintf(`{"action":"ban","room_id":%d,"user_id":%d}`, room, id))
			}
			open.find("the end of it", func(o object) bool {
				return strings.HasPrefix(fmt.Sprint(o["type"]), "room.member.") && o["user_id"] == float64(id) && o["type"] != "room.member.joined"
			})
			secret := one.must(201, "POST", at+"/messages", one.as(alice), `{"text":"whisper about who has gone"}`).id(t)
			one.must(200, "GET", fmt.Sprintf("%s/messages?min=%d", at, secret), one.as(alice), "")

			fresh := dial(t, two.base, "/ws", two.as(who))
			fresh.event("hello")
			n := 10
			for _, c := range []*ws{open, fresh} {
				for _, ask := range []string{
					`{"type":"join","room_id":%d}`, `{"type":"join","room_id":%d,"after":0}`, `{"type":"history","room_id":%d}`, `{"type":"who","room_id":%d}`,
					`{"type":"typing","room_id":%d}`, `{"type":"read","room_id":%d,"upto":1}`, `{"type":"send","room_id":%d,"text":"x"}`,
					fmt.Sprintf(`{"type":"edit","room_id":%%d,"message_id":%d,"text":"x"}`, mine), fmt.Sprintf(`{"type":"delete","room_id":%%d,"message_id":%d}`, mine),
					fmt.Sprintf(`{"type":"react","room_id":%%d,"message_id":%d,"emoji":"🚀"}`, mine), fmt.Sprintf(`{"type":"unreact","room_id":%%d,"message_id":%d,"emoji":"🚀"}`, mine),
				} {
					n++
					c.refused(n, vezechat.CodeNotFound, ask, room)
				}
				// Everything that was said comes before the answer to what is asked last.
				c.say(`{"type":"ping","ref":"end"}`)
				c.find("the end", func(o object) bool {
					if o["text"] == "whisper about who has gone" {
						t.Error("a socket heard what was said afterwards")
					}
					return o["ref"] == "end"
				})
			}
			for _, e := range []*modEdge{one, two} {
				for _, tt := range []struct{ method, path, body string }{
					{"GET", at, ""}, {"GET", at + "/messages", ""}, {"GET", at + "/messages?after=1", ""}, {"GET", at + "/members", ""}, {"GET", "/search?q=whisper&room=" + fmt.Sprint(room), ""},
					{"GET", fmt.Sprintf("%s/messages/%d", at, mine), ""}, {"PATCH", fmt.Sprintf("%s/messages/%d", at, mine), `{"text":"x"}`},
					{"DELETE", fmt.Sprintf("%s/messages/%d", at, mine), ""}, {"PUT", fmt.Sprintf("%s/messages/%d/reactions/%%F0%%9F%%9A%%80", at, mine), ""},
					{"POST", fmt.Sprintf("%s/messages/%d/report", at, secret), `{"reason":"x"}`},
					{"POST", at + "/read", `{"upto":1}`}, {"POST", at + "/messages", `{"text":"x"}`}, {"POST", at + "/join", ""},
				} {
					if a := e.do(tt.method, tt.path, e.as(who), tt.body); a.status != 404 {
						t.Errorf("%s %s: %d %s", tt.method, tt.path, a.status, a.body)
					}
				}
				for _, path := range []string{"/search?q=whisper", "/unread", "/rooms"} {
					if a := e.must(200, "GET", path, e.as(who), ""); strings.Contains(a.body, "whisper") || strings.Contains(a.body, "Guild of "+how) || strings.Contains(a.body, fmt.Sprintf(`"room_id":%d`, room)) {
						t.Errorf("%s tells of it: %s", path, a.body)
					}
				}
			}
			// Nor are they shown as there: presence is gathered, and may be late.
			watcher := dial(t, two.base, "/ws", two.as(alice))
			watcher.ask(1, `{"type":"join","room_id":%d}`, room)
			two.until("they are not shown", func() bool {
				n++
				return !strings.Contains(fmt.Sprint(watcher.ask(n, `{"type":"who","room_id":%d}`, room)["users"]), fmt.Sprintf("id:%d]", id))
			})
		})
	}
}

// A client cannot say events, and hears none of rooms that it has not joined.
func TestAttack_EventFrames(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	a, b, e := w.enter(base, alice, 2), w.enter(base, bob, 1), w.enter(base, eve, 1)
	before := w.hub.appended()
	src, err := os.ReadFile("../eventtype.go")
	must(t, err)
	kinds := regexp.MustCompile(`EventType\s+= "([a-z.]+)"`).FindAllStringSubmatch(string(src), -1)
	if len(kinds) < 30 {
		t.Fatalf("%d events: this test looks in the wrong place", len(kinds))
	}
	for _, m := range kinds {
		kind := m[1]
		for _, c := range []*ws{b, e} {
			o := c.ask("r", `{"type":%q,"room_id":2,"message_id":1,"ticket_id":1,"user_id":1,"handle":"@alice","text":"forged","seq":99,"prev":0,"at":"2026-11-23T12:00:00.123Z"}`, kind)
			if o["type"] != "error" || o["code"] != "bad_request" {
				t.Errorf("%s: %v", kind, o)
			}
		}
	}
	for _, kind := range []string{"hello", "ok", "error", "bye", "lag", "presence", "held", "pong", "reset"} {
		if o := e.ask("r", `{"type":%q,"room_id":2}`, kind); o["type"] != "error" {
			t.Errorf("%s: %v", kind, o)
		}
	}
	// In a frame that is allowed, what only the hub says counts for nothing.
	e.ask("s", `{"type":"send","room_id":1,"text":"hi","user_id":1,"handle":"@alice","by":1,"flags":["staff"],"seq":1,"message_id":7,"at":"2020-01-01T00:00:00Z"}`)
	if ev := b.event("chat.message.created"); ev["handle"] != "@eve" || ev["flags"] != nil || ev["by"] != nil || ev["message_id"] == 7.0 {
		t.Errorf("said in another's name: %v", ev)
	}
	if n := w.hub.appended() - before; n != 1 {
		t.Errorf("%d events in the log, want the message alone", n)
	}
	a.ask(1, `{"type":"send","room_id":2,"text":"a secret"}`)
	a.ask(2, `{"type":"typing","room_id":2}`)
	a.event("chat.message.created")
	for _, c := range []*ws{b, e} { // bob is a member of the room, and has not joined it here
		c.say(`{"type":"ping","ref":"end"}`)
		c.find("the end", func(o object) bool {
			if o["room_id"] == 2.0 && o["type"] != "error" {
				t.Errorf("heard %v", o)
			}
			return o["ref"] == "end"
		})
	}
}

// What stands in a header or a subject behind the edge, or in the head of an answer,
// cannot be ended by the caller: neither by line ends nor by wildcards.
func TestAttack_Injection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.as(alice)
	for _, nonce := range []string{"a\r\nNats-Msg-Id: b", "a\nb", "a b", "*", ">", "a\x00", "a\u2028b", "ä"} {
		b, err := json.Marshal(map[string]string{"text": "x", "nonce": nonce})
		must(t, err)
		if a := w.do("POST", "/rooms/2/messages", h, string(b)); a.status != 400 && (a.status != 201 || strings.ContainsAny(w.lastID(), "\r\n\x00 ")) {
			t.Errorf("nonce %q: %d %s, id %q", nonce, a.status, a.body, w.lastID())
		}
	}
	a := w.do("POST", "/rooms/2/messages", with(h, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-QNet-Path", "a\tb", "X-QNet-*", "b", "X-QNet->", "c"), `{"text":"x"}`)
	if a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
	entry, ev := w.hub.last()
	if entry.Subject != "veze.room.2" || ev.Text != "x" {
		t.Errorf("%s: %+v", entry.Subject, ev)
	}
	for _, v := range entry.Trace.QNet {
		if strings.ContainsAny(v, "\r\n") {
			t.Errorf("a header with a line end: %q", v)
		}
	}
	page := http.Header{"Accept": {"text/html"}}
	for _, next := range []string{"/rooms%0d%0aSet-Cookie:%20x=1", "/rooms\u2028", "/%0d%0a%0d%0a<script>"} {
		a := w.do("POST", "/auth/dev", with(page, "Content-Type", formType), "handle=alice&next="+next)
		if a.status != 303 || strings.ContainsAny(a.header.Get("Location"), "\r\n") || len(a.header.Values("Set-Cookie")) != 1 {
			t.Errorf("next %q: %d %v", next, a.status, a.header)
		}
	}
	for _, prefix := range []string{"//evil.example", "/x\"><script>", "https://evil.example", "/a/../..", "javascript:alert(1)"} {
		a := w.do("GET", "/auth/dev", with(page, "X-Forwarded-Prefix", prefix), "")
		if a.status != 200 || strings.Contains(a.body, "evil.example") || strings.Contains(a.body, "<script>") || strings.Contains(a.body, "javascript:") {
			t.Errorf("prefix %q: %d %.300s", prefix, a.status, a.body)
		}
	}
}

// lastID is the id of the last event, empty without one.
func (w *world) lastID() string {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if len(w.hub.entries) == 0 {
		return ""
	}
	return w.hub.entries[len(w.hub.entries)-1].ID
}
