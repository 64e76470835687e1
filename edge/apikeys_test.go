package edge_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// madeKey is a key as it was answered.
type madeKey struct {
	vezechat.APIKey
	Secret string
}

func (m madeKey) header() http.Header { return http.Header{"Authorization": {"Bearer " + m.Secret}} }

func (d *deskWorld) key(name string, more string) (k madeKey) {
	d.t.Helper()
	a := d.must(201, "POST", "/admin/keys", d.admin(), fmt.Sprintf(`{"name":%q,"handle":"bot","scopes":["chat.read"]%s}`, name, more))
	if err := decode(a.body, &k); err != nil {
		d.t.Fatal(err)
	}
	return k
}

func TestKeys_WhoBringsOne(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	d.must(201, "POST", "/rooms", d.admin(), `{"name":"Lobby","kind":"global"}`)
	k := d.key("Match server", `,"nonce":"n1"`)
	if !regexp.MustCompile(`^vezek_[A-Z2-7]{59}$`).MatchString(k.Secret) || k.Handle != "@bot" || k.MadeBy != "@"+boss {
		t.Fatalf("%+v", k)
	}
	again := d.must(201, "POST", "/admin/keys", d.admin(), `{"name":"Match server","handle":"bot","scopes":["chat.read"],"nonce":"n1"}`)
	if strings.Contains(again.body, "secret") || again.id(t) != int64(k.ID) {
		t.Errorf("a repetition: %s", again.body)
	}
	me := d.must(200, "GET", "/auth/me", k.header(), "")
	if !strings.Contains(me.body, `"@bot"`) || strings.Contains(me.body, "expires_at") {
		t.Errorf("it is %s", me.body)
	}
	stranger := vezechat.NewKey()
	digest, _ := vezechat.DigestKey(k.Secret)
	if _, err := d.store.FindKey(t.Context(), vezechat.KeyDigest{Hint: digest.Hint, Hash: make([]byte, 32)}); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
		t.Errorf("another hash with the hint of a good key: %v", err)
	}
	last := "A"
	if strings.HasSuffix(k.Secret, last) {
		last = "B"
	}
	for name, secret := range map[string]string{
		"of nobody": stranger, "cut": k.Secret[:40], "with another checksum": k.Secret[:len(k.Secret)-1] + last, "longer": k.Secret + "A",
		"the prefix": vezechat.KeyPrefix, "in lower case": strings.ToLower(k.Secret), "of spaces": vezechat.KeyPrefix + strings.Repeat(" ", 59) + ".",
	} {
		for range 2 { // asked, and remembered
			if a := d.do("GET", "/auth/me", http.Header{"Authorization": {"Bearer " + secret}}, ""); a.status != 401 && a.status != 400 {
				t.Errorf("a key %s: %d %s", name, a.status, a.body)
			}
		}
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/rooms", "", 200},
		{"POST", "/rooms", `{"name":"Mine","kind":"guild"}`, 403},
		{"POST", "/rooms/1/messages", `{"text":"hi"}`, 403},
		{"POST", "/rooms/1/messages", `{"text":"hi","handle":"@ann"}`, 403},
		{"GET", "/inbox", "", 403},
	} {
		if a := d.do(c.method, c.path, k.header(), c.body); a.status != c.want {
			t.Errorf("with chat.read alone: %s %s: %d %s, want %d", c.method, c.path, a.status, a.body, c.want)
		}
	}
	if logs := d.logs.String(); strings.Contains(logs, k.Secret[20:]) || !strings.Contains(logs, `"msg":"api key made"`) {
		t.Error("the log has the secret, or no line of who made the key")
	}
}

// Scopes are the maker's to give, and a key makes no keys, whatever it may do else.
func TestKeys_WhatTheyMay(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	d.user(ann)
	d.must(201, "POST", "/rooms", d.admin(), `{"name":"Lobby","kind":"global"}`)
	var k madeKey
	a := d.must(201, "POST", "/admin/keys", d.admin(), `{"name":"Bridge","handle":"bridge","scopes":["chat.read","chat.write","chat.act_as","chat.admin"]}`)
	if err := decode(a.body, &k); err != nil {
		t.Fatal(err)
	}
	d.must(201, "POST", "/rooms/1/messages", k.header(), `{"text":"in her name","handle":"@ann"}`)
	d.until("the message in her name", func() bool {
		return strings.Contains(d.do("GET", "/rooms/1/messages", d.admin(), "").body, `"handle":"@ann"`)
	})
	for _, c := range []struct {
		name, method, path, body string
		header                   http.Header
		want                     int
	}{
		{"a key makes keys", "POST", "/admin/keys", `{"name":"x","handle":"y","scopes":["chat.read"]}`, k.header(), 403},
		{"a key lists keys", "GET", "/admin/keys", "", k.header(), 403},
		{"a key revokes keys", "DELETE", "/admin/keys/1", "", k.header(), 403},
		{"the staff", "POST", "/admin/keys", `{"name":"x","handle":"y","scopes":["chat.read"]}`, d.staff(), 403},
		{"a scope that is none", "POST", "/admin/keys", `{"name":"x","handle":"y","scopes":["root"]}`, d.admin(), 400},
		{"no scope", "POST", "/admin/keys", `{"name":"x","handle":"y"}`, d.admin(), 400},
		{"no name", "POST", "/admin/keys", `{"handle":"y","scopes":["chat.read"]}`, d.admin(), 400},
		{"a name as long as a text", "POST", "/admin/keys", `{"name":"` + strings.Repeat("n", 81) + `","handle":"y","scopes":["chat.read"]}`, d.admin(), 413},
		{"the name of another", "POST", "/admin/keys", `{"name":"BRIDGE","handle":"y","scopes":["chat.read"]}`, d.admin(), 409},
		{"a person's handle", "POST", "/admin/keys", `{"name":"x","handle":"ann","scopes":["chat.read"]}`, d.admin(), 409},
		{"an end that has passed", "POST", "/admin/keys", `{"name":"x","handle":"y","scopes":["chat.read"],"expires_at":"2020-01-01T00:00:00Z"}`, d.admin(), 400},
		{"no such key", "DELETE", "/admin/keys/999", "", d.admin(), 404},
	} {
		if a := d.do(c.method, c.path, c.header, c.body); a.status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, a.status, a.body, c.want)
		}
	}
}

func TestKeys_End(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	ending := d.key("Ending", fmt.Sprintf(`,"expires_at":%q`, d.clock.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	k := d.key("Revoked", "")
	d.must(200, "GET", "/auth/me", ending.header(), "")
	d.must(200, "GET", "/auth/me", k.header(), "")
	d.must(204, "DELETE", fmt.Sprintf("/admin/keys/%d", k.ID), d.admin(), "")
	d.must(204, "DELETE", fmt.Sprintf("/admin/keys/%d", k.ID), d.admin(), "") // twice is as once
	if a := d.do("GET", "/auth/me", k.header(), ""); a.status != 401 || !strings.Contains(a.body, "revoked") {
		t.Errorf("a revoked key: %d %s", a.status, a.body)
	}
	d.key("Revoked", "") // the name is free again
	d.clock.Add(2 * time.Hour)
	if a := d.do("GET", "/auth/me", ending.header(), ""); a.status != 401 || !strings.Contains(a.body, "expired") {
		t.Errorf("a key whose end has come: %d %s", a.status, a.body)
	}
}

// A page shows the secret in the answer to the form and never again.
func TestKeys_Page(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	h := with(d.admin(), "Accept", "text/html", "Content-Type", formType)
	a := d.must(201, "POST", "/admin/keys", h, form("name", "Form", "handle", "formbot", "scopes", "chat.read", "scopes", "chat.write", "nonce", "f1"))
	secret := regexp.MustCompile(`vezek_[A-Z2-7]{59}`).FindString(a.body)
	if secret == "" || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("no key in the page, or it may be kept: %v", a.header)
	}
	again := d.must(201, "POST", "/admin/keys", h, form("name", "Form", "handle", "formbot", "scopes", "chat.read", "scopes", "chat.write", "nonce", "f1"))
	list := d.must(200, "GET", "/admin/keys", h, "")
	if strings.Contains(again.body+list.body, secret) || !strings.Contains(list.body, secret[:14]) {
		t.Error("the secret is shown again, or the key is not in the list")
	}
	d.must(303, "POST", "/admin/keys/1?_method=DELETE", h, "x=1")
	if a := d.do("GET", "/auth/me", http.Header{"Authorization": {"Bearer " + secret}}, ""); a.status != 401 {
		t.Errorf("revoked by a form: %d", a.status)
	}
}

// What came by a key ends with it on every edge, within seconds; what did not stays.
func TestKeys_RevokedReachesOtherEdges(t *testing.T) {
	t.Parallel()
	store, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
	must(t, err)
	t.Cleanup(store.Close)
	admin, err := store.EnsureUser(t.Context(), vezechat.Identity{Issuer: "test", Subject: "a", Handle: "admin"})
	must(t, err)
	by := vezechat.Caller{UserID: admin.ID, Handle: admin.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatAdmin}}
	secret := vezechat.NewKey()
	digest, _ := vezechat.DigestKey(secret)
	key, err := store.MakeKey(t.Context(), vezechat.MakeKey{Caller: by, Name: "Bot", Handle: "bot", Scopes: vezechat.Scopes{vezechat.ScopeChatRead}, Digest: digest})
	must(t, err)
	var sockets []*ws
	var people []*ws
	for range 2 {
		w := newSocketWorld(t, func(s settings) { s.edge.Keys = store })
		base, _ := w.serve(t)
		sockets = append(sockets, dial(t, base, "/ws", http.Header{"Authorization": {"Bearer " + secret}}))
		first := dial(t, base, "/ws", nil)
		first.say(`{"type":"auth","token":%q}`, secret)
		changed := dial(t, base, "/ws", http.Header{"Authorization": {"Bearer " + secret}})
		changed.say(`{"type":"ping","ref":1}`)
		sockets = append(sockets, first, changed)
		people = append(people, dial(t, base, "/ws", w.as(alice)))
	}
	for _, c := range append(sockets, people...) {
		c.find("hello", func(o object) bool { return o["type"] == "hello" })
	}
	_, err = store.RevokeKey(t.Context(), vezechat.KeyRef{Caller: by, ID: key.ID})
	must(t, err)
	begun := time.Now()
	for _, c := range sockets {
		if code := c.closed(); code != 4500 {
			t.Errorf("closed with %d, want 4500", code)
		}
	}
	t.Logf("closed %s after", time.Since(begun).Round(time.Millisecond))
	for _, c := range people {
		c.say(`{"type":"ping","ref":7}`)
		c.find("pong", func(o object) bool { return o["type"] == "pong" })
	}
}

// A hub without a service of keys takes none.
func TestKeys_NoneHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*edge.Config) {})
	if a := w.do("GET", "/rooms", http.Header{"Authorization": {"Bearer " + vezechat.NewKey()}}, ""); a.status != 401 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.do("GET", "/admin/keys", w.as(alice, vezechat.ScopeChatAdmin), ""); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
