package edge_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// TestParams_JSONFormQueryAlike sends each command in each of its forms.
func TestParams_JSONFormQueryAlike(t *testing.T) {
	t.Parallel()
	type send struct {
		name string
		do   func(w *world, path string) answer
	}
	forms := func(fields map[string]string, asJSON string) []send {
		v := url.Values{}
		for k, s := range fields {
			v.Set(k, s)
		}
		multi := "--b\r\n"
		for k, s := range fields {
			multi += fmt.Sprintf("Content-Disposition: form-data; name=%q\r\n\r\n%s\r\n--b\r\n", k, s)
		}
		multi = strings.TrimSuffix(multi, "\r\n") + "--\r\n"
		return []send{
			{"JSON", func(w *world, p string) answer { return w.do("POST", p, w.as(alice), asJSON) }},
			{"JSON with charset", func(w *world, p string) answer {
				return w.do("POST", p, with(w.as(alice), "Content-Type", "application/json; charset=utf-8"), asJSON)
			}},
			{"form", func(w *world, p string) answer {
				return w.do("POST", p, with(w.as(alice), "Content-Type", formType), v.Encode())
			}},
			{"multipart", func(w *world, p string) answer {
				return w.do("POST", p, with(w.as(alice), "Content-Type", "multipart/form-data; boundary=b"), multi)
			}},
			{"query", func(w *world, p string) answer { return w.do("POST", p+"?"+v.Encode(), w.as(alice), "") }},
			{"body before query", func(w *world, p string) answer {
				return w.do("POST", p+"?text=other&name=other&to=99&upto=99&reply_to=99", w.as(alice), asJSON)
			}},
			{"form before query", func(w *world, p string) answer {
				return w.do("POST", p+"?text=other&name=other&to=99&upto=99&reply_to=99", with(w.as(alice), "Content-Type", formType), v.Encode())
			}},
			{"unknown fields", func(w *world, p string) answer {
				return w.do("POST", p+"?who=knows", w.as(alice), strings.Replace(asJSON, "{", `{"unknown":{"deep":[1,{}]},"other":null,`, 1))
			}},
		}
	}
	for _, tc := range []struct {
		name, path, json string
		fields           map[string]string
		check            func(t *testing.T, w *world, a answer)
	}{
		{
			"message", "/rooms/2/messages", `{"text":"héllo & co","nonce":"n-1","reply_to":1}`,
			map[string]string{"text": "héllo & co", "nonce": "n-1", "reply_to": "1"},
			func(t *testing.T, w *world, a answer) {
				entry, e := w.hub.last()
				if a.status != 201 || e.Text != "héllo & co" || e.ReplyTo != 1 || e.Nonce != "n-1" || entry.ID != "1:2:n-1" || entry.Subject != "veze.room.2" {
					t.Errorf("%d %s: %+v %q", a.status, a.body, e, entry.ID)
				}
			},
		},
		{
			"room", "/rooms", `{"name":"Nova","kind":"guild","meta":{"a":[1]},"members":[2,3]}`,
			map[string]string{"name": "Nova", "kind": "guild", "meta": `{"a":[1]}`, "members": "2,3"},
			func(t *testing.T, w *world, a answer) {
				r := w.hub.created[0]
				if a.status != 201 || r.Name != "Nova" || r.Kind != vezechat.KindGuild || string(r.Meta) != `{"a":[1]}` || len(r.Members) != 2 {
					t.Errorf("%d %s: %+v", a.status, a.body, r)
				}
				var out struct {
					ID   int
					Name string
					Kind string
				}
				a.json(t, &out)
				if out.ID != 3 || out.Name != "Nova" || out.Kind != "guild" || a.header.Get("Location") != "/rooms/3" {
					t.Errorf("answer %s %v", a.body, a.header)
				}
			},
		},
		{
			"direct message by id", "/dms", `{"to":2}`, map[string]string{"to": "2"},
			func(t *testing.T, w *world, a answer) {
				if a.status != 200 || strings.TrimSpace(a.body) != `{"room_id":3}` || w.hub.rooms[2].members[2] == "" {
					t.Errorf("%d %s", a.status, a.body)
				}
			},
		},
		{
			"direct message by handle", "/dms", `{"to":"bob"}`, map[string]string{"to": "@bob"},
			func(t *testing.T, w *world, a answer) {
				if a.status != 200 || w.hub.rooms[2].members[2] == "" {
					t.Errorf("%d %s", a.status, a.body)
				}
			},
		},
		{
			"read", "/rooms/2/read", `{"upto":41}`, map[string]string{"upto": "41"},
			func(t *testing.T, w *world, a answer) {
				if a.status != 200 || w.hub.rooms[1].reads[1] != 41 {
					t.Errorf("%d %s %v", a.status, a.body, w.hub.rooms[1].reads)
				}
			},
		},
	} {
		for _, f := range forms(tc.fields, tc.json) {
			t.Run(tc.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.do("POST", "/rooms/2/messages", w.as(bob), `{"text":"first"}`)
				tc.check(t, w, f.do(w, tc.path))
			})
		}
	}
}

func TestParams_WrongTypesNameTheField(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.as(alice)
	for _, tc := range []struct{ method, path, body, field string }{
		{"POST", "/rooms/2/messages", `{"text":5}`, "text"},
		{"POST", "/rooms/2/messages", `{"text":["a"]}`, "text"},
		{"POST", "/rooms/2/messages", `{"text":{}}`, "text"},
		{"POST", "/rooms/2/messages", `{"text":true}`, "text"},
		{"POST", "/rooms/2/messages", `{"text":"a\u0000b"}`, "text"},
		{"POST", "/rooms/2/messages", `{"text":"x","reply_to":"abc"}`, "reply_to"},
		{"POST", "/rooms/2/messages", `{"text":"x","reply_to":1.5}`, "reply_to"},
		{"POST", "/rooms/2/messages", `{"text":"x","reply_to":-1}`, "reply_to"},
		{"POST", "/rooms/2/messages", `{"text":"x","reply_to":1e2}`, "reply_to"},
		{"POST", "/rooms/2/messages", `{"text":"x","reply_to":99999999999999999999}`, "reply_to"},
		{"POST", "/rooms/2/messages", `{"text":"x","nonce":7}`, "nonce"},
		{"POST", "/rooms", `{"name":1,"kind":"guild"}`, "name"},
		{"POST", "/rooms", `{"name":"x","kind":["guild"]}`, "kind"},
		{"POST", "/rooms", `{"name":"x","kind":"castle"}`, "kind"},
		{"POST", "/rooms", `{"name":"x","kind":"guild","meta":[1]}`, "meta"},
		{"POST", "/rooms", `{"name":"x","kind":"guild","meta":"{}"}`, "meta"},
		{"POST", "/rooms", `{"name":"x","kind":"guild","members":{}}`, "members"},
		{"POST", "/rooms", `{"name":"x","kind":"guild","members":[1,"*"]}`, "members"},
		{"POST", "/rooms", `{"name":"x","kind":"guild","members":[0]}`, "members"},
		{"PATCH", "/rooms/2", `{"locked":"yes"}`, "locked"},
		{"PATCH", "/rooms/2", `{"locked":1}`, "locked"},
		{"PATCH", "/rooms/2", `{"slow_mode":-5}`, "slow_mode"},
		{"PUT", "/rooms/2/members/2", `{"role":"emperor"}`, "role"},
		{"POST", "/rooms/2/read", `{"upto":"x"}`, "upto"},
		{"POST", "/rooms/2/read", `{}`, "upto"},
		{"POST", "/dms", `{"to":true}`, "to"},
		{"POST", "/dms", `{}`, "to"},
		{"GET", "/rooms/2/messages?limit=abc", "", "limit"},
		{"GET", "/rooms/2/messages?limit=201", "", "limit"},
		{"GET", "/rooms/2/messages?limit=0", "", "limit"},
		{"GET", "/rooms/2/messages?before=x", "", "before"},
		{"GET", "/rooms/2/messages?before=1&after=2", "", "before"},
		{"GET", "/rooms?after=*", "", "after"},
		{"GET", "/search?q=%ff", "", "q"},
		{"GET", "/search", "", "q"},
		{"GET", "/search?q=x&room=*", "", "room"},
	} {
		a := w.do(tc.method, tc.path, h, tc.body)
		var p struct{ Detail string }
		if a.status == 400 {
			a.json(t, &p)
		}
		if a.status != 400 || !strings.Contains(p.Detail, tc.field) {
			t.Errorf("%s %s %s: %d %s, want 400 with %q", tc.method, tc.path, tc.body, a.status, a.body, tc.field)
		}
	}
	if w.hub.appended() != 0 || len(w.hub.created) != 0 {
		t.Error("something was done")
	}
}

func TestParams_MalformedBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.as(alice)
	for name, tc := range map[string]struct{ typ, body string }{
		"array": {"", `[]`}, "null": {"", `null`}, "number": {"", `1`}, "string": {"", `"x"`}, "two": {"", `{"text":"a"}{"text":"b"}`},
		"trailing": {"", `{"text":"a"} x`}, "cut": {"", `{"text":"a`}, "invalid UTF-8": {"", "{\"text\":\"\xff\"}"},
		"deep": {"", strings.Repeat(`{"a":`, 200_000)}, "NUL": {"", "\x00"}, "BOM UTF-16": {"", "\xff\xfe{\x00}\x00"},
		"unknown type": {"text/xml", `<text/>`}, "malformed type": {"a/b; c=\"", `{}`},
		"multipart without boundary": {"multipart/form-data", `x`}, "multipart cut": {"multipart/form-data; boundary=b", "--b\r\nContent-"},
	} {
		a := w.do("POST", "/rooms/2/messages", with(h, "Content-Type", cmp.Or(tc.typ, "application/json")), tc.body)
		if a.status != 400 || a.code(t) != vezechat.CodeBadRequest {
			t.Errorf("%s: %d %.200s", name, a.status, a.body)
		}
	}
	if a := w.do("POST", "/rooms/2/messages", with(h, "Content-Encoding", "gzip"), `{"text":"x"}`); a.status != 400 {
		t.Errorf("an encoded body: %d", a.status)
	}
	many := strings.Repeat("a=1&", 5000)
	if a := w.do("POST", "/rooms/2/messages", with(h, "Content-Type", formType), many+"text=x"); a.status != 413 {
		t.Errorf("many fields: %d", a.status)
	}
	if w.hub.appended() != 0 {
		t.Error("something was appended")
	}
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Error("something was logged as an error")
	}
}

// torture is where the files of bad input are, "" when they are nowhere.
func torture(t testing.TB) string {
	dir := os.Getenv("VEZE_DATA_DIR")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	dir = filepath.Join(dir, "torture")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no torture files at %s; set VEZE_DATA_DIR to where they are", dir)
	}
	return dir
}

// TestTorture_JSON sends the files of the JSON test suite as bodies: those that
// must be refused are, and none is our fault.
func TestTorture_JSON(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(torture(t), "jsontestsuite", "*", "*.json"))
	must(t, err)
	if len(files) < 100 {
		t.Fatalf("only %d files", len(files))
	}
	w := newWorld(t)
	h := w.as(alice)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		for _, body := range []string{string(b), `{"text":"x","extra":` + string(b) + `}`} {
			if body == "" {
				continue
			}
			a := w.do("PATCH", "/rooms/2", h, body)
			bad := strings.HasPrefix(filepath.Base(f), "n_")
			if a.status != 200 && a.status != 400 || bad && a.status == 200 && body == string(b) {
				t.Errorf("%s: %d %.200s", filepath.Base(f), a.status, a.body)
			}
		}
	}
	if logs := w.logs.String(); strings.Contains(logs, `"level":"ERROR"`) || strings.Contains(logs, `"level":"WARN"`) {
		t.Error("something was logged as our fault")
	}
}

// TestTorture_NaughtyStrings sends each string as a text, a name, a query, a
// nonce, an emoji and an id.
func TestTorture_NaughtyStrings(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(torture(t), "blns", "blns.json"))
	must(t, err)
	var list []string
	must(t, json.Unmarshal(b, &list))
	if len(list) < 400 {
		t.Fatalf("only %d strings", len(list))
	}
	w := newWorld(t)
	h := w.as(alice, vezechat.ScopeChatModerate) // no rate limit
	fine := func(what, s string, a answer) {
		if a.status >= 500 || a.status == 0 {
			t.Errorf("%s %q: %d %.200s", what, s, a.status, a.body)
		}
	}
	for _, s := range list {
		text, err := json.Marshal(map[string]string{"text": s, "name": s, "kind": "guild", "reason": s, "handle": s, "to": s})
		must(t, err)
		a := w.do("POST", "/rooms/2/messages", h, strings.Replace(string(text), `"handle"`, `"ignored"`, 1))
		fine("text", s, a)
		if want, err := vezechat.CheckText(s); err == nil {
			if _, e := w.hub.last(); a.status != 201 || e.Text != want {
				t.Errorf("text %q: %d, kept as %q", s, a.status, e.Text)
			}
		} else if a.status == 201 {
			t.Errorf("text %q was taken", s)
		}
		fine("form", s, w.do("POST", "/rooms/2/messages", with(h, "Content-Type", formType), form("text", s)))
		fine("name", s, w.do("POST", "/rooms", h, string(text)))
		fine("to", s, w.do("POST", "/dms", h, string(text)))
		fine("query", s, w.do("GET", "/search?"+form("q", s), h, ""))
		fine("emoji", s, w.do("PUT", "/rooms/2/messages/1/reactions/"+url.PathEscape(s), h, ""))
		fine("id", s, w.do("GET", "/rooms/"+url.PathEscape(s), h, ""))
		fine("handle", s, w.do("POST", "/auth/dev", nil, string(text)))
		fine("prefix", s, w.do("GET", "/", http.Header{"X-Forwarded-Prefix": {strings.Map(oneLine, s)}, "X-Request-Id": {strings.Map(oneLine, s)}}, ""))
	}
	for _, page := range []string{"/rooms", "/rooms/2"} {
		a := w.do("GET", page, with(h, "Accept", "text/html"), "")
		if a.status != 200 || strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, "onerror=alert") && strings.Contains(a.body, "<img src=x") {
			t.Errorf("%s: %d", page, a.status)
		}
	}
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Error("something was logged as an error")
	}
}

func oneLine(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// FuzzParams sends any body of any type to any command: the answer is one of
// ours, and never our fault.
func FuzzParams(f *testing.F) {
	f.Add("application/json", `{"text":"x","reply_to":1,"members":[1],"meta":{}}`, "text=y")
	f.Add(formType, "text=x&members=1,2&locked=on", "")
	f.Add("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nx\r\n--b--\r\n", "")
	f.Add("application/json", `{"text":null,"kind":"guild","name":"x"}`, "%ff=%00&&=&text")
	w := newWorld(f)
	h := w.as(alice, vezechat.ScopeChatModerate)
	f.Fuzz(func(t *testing.T, typ, body, query string) {
		if strings.IndexFunc(typ, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 || len(body) > 64<<10 {
			return
		}
		h := with(h, "Content-Type", typ)
		q := "?" + url.PathEscape(query)
		if strings.IndexFunc(query, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) < 0 {
			q = "?" + query
		}
		w.t = t
		w.hub.reset()
		for _, path := range []string{"/rooms/2/messages", "/rooms", "/dms", "/rooms/2/read"} {
			if a := w.do("POST", path+q, h, body); a.status >= 500 || a.status == 0 {
				t.Fatalf("%s: %d %s", path, a.status, a.body)
			}
		}
		if a := w.do("PATCH", "/rooms/2"+q, h, body); a.status >= 500 || a.status == 0 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
}
