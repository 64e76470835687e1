package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// redisCLI runs redis-cli on the hub's Redis; the password goes by the
// environment, as arguments are everybody's to read.
func redisCLI(t *testing.T, f file) func(args ...string) string {
	t.Helper()
	path := tool(t, "redis-cli")
	u, err := url.Parse(f.RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	pass, _ := u.User.Password()
	return func(args ...string) string {
		t.Helper()
		r := run(t, world.dir, []string{"REDISCLI_AUTH=" + pass}, path, append([]string{"-h", u.Hostname(), "-p", u.Port()}, args...)...)
		if r.status != 0 || strings.HasPrefix(r.out, "ERR") || strings.HasPrefix(r.out, "NOAUTH") {
			t.Fatalf("redis-cli %v: status %d %s%s", args, r.status, r.out, r.err)
		}
		return r.out
	}
}

var entryID = regexp.MustCompile(`(?m)^\d{13}-\d+$`)

// The recipe of docs/data.md, word for word: a group from now on, a worker that
// reads and acknowledges, one that dies, one that takes over.
func TestClients_RedisConsumerGroup(t *testing.T) {
	t.Parallel()
	h := shared(t)
	cli := redisCLI(t, h.file(t))
	group := fresh("helm")
	room, _ := h.globalRoom(t)
	mine := fmt.Sprintf(`"room_id":%d,`, room)
	eventually(t, "the room is in the stream", func() bool { return strings.Contains(cli("XREVRANGE", "veze.chat", "+", "-", "COUNT", "200"), mine) })
	if out := cli("XGROUP", "CREATE", "veze.chat", group, "$", "MKSTREAM"); out != "OK\n" {
		t.Fatalf("XGROUP: %s", out)
	}
	if out := cli("XREADGROUP", "GROUP", group, "worker-1", "COUNT", "100", "STREAMS", "veze.chat", "0"); entryID.MatchString(out) {
		t.Errorf("a new worker has something unfinished: %s", out)
	}
	rest := h.admin(t)
	id, err := rest.Send(t.Context(), roomID(room), "to Helm", "n1")
	if err != nil {
		t.Fatal(err)
	}
	var entry, payload string
	var pending []string
	eventually(t, "the worker gets the line", func() bool {
		out := cli("XREADGROUP", "GROUP", group, "worker-1", "COUNT", "100", "BLOCK", "5000", "STREAMS", "veze.chat", ">")
		lines := strings.Split(out, "\n")
		for i, l := range lines {
			switch {
			case entryID.MatchString(l):
				entry = l
				pending = append(pending, l)
			case strings.Contains(l, "to Helm") && lines[i-1] == "payload":
				payload = l
			}
		}
		return payload != ""
	})
	var e struct {
		Type             string
		RoomID           int64 `json:"room_id"`
		MessageID        int64 `json:"message_id"`
		Handle, Text, At string
		Seq, Prev        int64
		UserID           int64 `json:"user_id"`
		_                struct{}
	}
	if err := json.Unmarshal([]byte(payload), &e); err != nil || e.Type != "chat.message.created" || e.RoomID != room ||
		e.MessageID != int64(id) || e.Seq != int64(id) || e.Prev == 0 || e.UserID == 0 || e.Handle != "@root" || e.Text != "to Helm" || e.At == "" {
		t.Errorf("payload %s: %+v, %v", payload, e, err)
	}
	// worker-1 died before it acknowledged. Back again, it has it still…
	if out := cli("XREADGROUP", "GROUP", group, "worker-1", "COUNT", "100", "STREAMS", "veze.chat", "0"); !strings.Contains(out, entry) {
		t.Errorf("the worker that came back does not have %s: %s", entry, out)
	}
	// …or another claims it (here at once, not after a minute).
	if out := cli("XAUTOCLAIM", "veze.chat", group, "worker-2", "0", "0", "COUNT", "100"); !strings.Contains(out, entry) || !strings.Contains(out, "to Helm") {
		t.Errorf("worker-2 claims: %s", out)
	}
	for _, p := range pending {
		if out := cli("XACK", "veze.chat", group, p); out != "1\n" {
			t.Errorf("XACK %s: %s", p, out)
		}
	}
	if out := cli("XREADGROUP", "GROUP", group, "worker-2", "COUNT", "100", "STREAMS", "veze.chat", "0"); entryID.MatchString(out) {
		t.Errorf("something is unfinished after all: %s", out)
	}
}

// query asks the hub's PostgreSQL with psql.
func (h *hub) query(t *testing.T, sql string) string {
	t.Helper()
	psql := tool(t, "psql", "/usr/lib/postgresql/*/bin/psql", "/opt/homebrew/opt/postgresql*/bin/psql", "/usr/local/opt/postgresql*/bin/psql")
	r := run(t, world.dir, nil, psql, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", h.file(t).DatabaseURL, "-c", sql)
	if r.status != 0 {
		t.Fatalf("psql %s: %s", sql, r.err)
	}
	return strings.TrimSpace(r.out)
}

// Reports read users, rooms and messages with psql, as CONTRACT says.
func TestClients_Psql(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, name := h.globalRoom(t)
	ada := fresh("ada")
	id, err := h.rest(t, ada).Send(t.Context(), roomID(room), "for the report", "n1")
	if err != nil {
		t.Fatal(err)
	}
	query := func(sql string) string { t.Helper(); return h.query(t, sql) }
	byKey := fmt.Sprintf(`SELECT m.text, m.handle, u.handle, u.email IS NOT NULL, r.name, r.kind, r.meta, m.flags IS NULL OR true, m.created_at > now() - interval '5 min'
		FROM messages m JOIN users u ON u.id = m.user_id JOIN rooms r ON r.id = m.room_id WHERE (m.room_id, m.message_id) = (%d, %d)`, room, id)
	want := "for the report|@" + ada + "|@" + ada + "|"
	eventually(t, "the line is stored", func() bool { return query(byKey) != "" })
	if got := query(byKey); !strings.HasPrefix(got, want) || !strings.Contains(got, "|"+name+"|global|{}|t|t") {
		t.Errorf("psql: %s", got)
	}
	report := query(`SELECT r.name, date_trunc('hour', m.created_at) AS hour, count(*), count(DISTINCT m.user_id) AS people
FROM messages m JOIN rooms r ON r.id = m.room_id
WHERE m.created_at >= now() - interval '1 day' AND m.deleted_at IS NULL AND m.hidden_at IS NULL
GROUP BY 1, 2 ORDER BY 2, 3 DESC;`)
	if !strings.Contains(report, name+"|") {
		t.Errorf("the report of docs/data.md: %s", report)
	}
	if n, err := strconv.Atoi(query(`SELECT seq FROM log_position WHERE stream = 'CHAT'`)); err != nil || n < int(id) {
		t.Errorf("log_position: %d, %v", n, err)
	}
}

// answer is what curl got.
type answer struct {
	status int
	typ    string
	header string
	body   map[string]any
	raw    string
}

// curl asks the hub; args are curl's own.
func curl(t *testing.T, h *hub, token, path string, args ...string) answer {
	t.Helper()
	r := run(t, world.dir, nil, tool(t, "curl"), append([]string{"-sS", "--max-time", "15", "-D", "/dev/stderr", "-H", "Authorization: Bearer " + token,
		"-w", "\n%{http_code} %{content_type}", h.url + path}, args...)...)
	cut := strings.LastIndexByte(r.out, '\n')
	if r.status != 0 || cut < 0 {
		t.Fatalf("curl %s: status %d %s", path, r.status, r.err)
	}
	a := answer{raw: r.out[:cut], header: r.err}
	if _, err := fmt.Sscanf(r.out[cut+1:], "%d %s", &a.status, &a.typ); err != nil && a.status == 0 {
		t.Fatal(err)
	}
	if strings.Contains(a.typ, "json") {
		if err := json.Unmarshal([]byte(a.raw), &a.body); err != nil {
			t.Errorf("curl %s: %v: %s", path, err, a.raw)
		}
	}
	return a
}

func (a answer) id(t *testing.T, field string) int64 {
	t.Helper()
	n, ok := a.body[field].(float64)
	if !ok {
		t.Fatalf("no %s in %d %s", field, a.status, a.raw)
	}
	return int64(n)
}

// Every route of CONTRACT.md that is built, as curl asks: with JSON, a form or
// the query.
func TestClients_Curl(t *testing.T) {
	t.Parallel()
	h := shared(t)
	tok := h.token(t, fresh("ada"), "chat.read chat.write")
	bob := fresh("bob")
	other := h.token(t, bob, "chat.read chat.write")
	bobID := userID(t, h, bob)
	json := func(body string) []string { return []string{"-H", "Content-Type: application/json", "-d", body} }

	made := map[string]int64{}
	for way, args := range map[string][]string{
		"json":  json(fmt.Sprintf(`{"name":%q,"kind":"guild","meta":{"color":"red"},"members":[%d]}`, fresh("Curl J"), bobID)),
		"form":  {"-d", "kind=guild", "--data-urlencode", "name=" + fresh("Curl F"), "-d", fmt.Sprintf("members=%d", bobID), "--data-urlencode", `meta={"color":"red"}`},
		"query": {"-X", "POST", "-G", "-d", "kind=guild", "--data-urlencode", "name=" + fresh("Curl Q"), "-d", fmt.Sprintf("members=%d", bobID), "--data-urlencode", `meta={"color":"red"}`},
	} {
		a := curl(t, h, tok, "/rooms", args...)
		if a.status != 201 || a.body["kind"] != "guild" || fmt.Sprint(a.body["meta"]) != "map[color:red]" {
			t.Fatalf("%s: POST /rooms: %d %s", way, a.status, a.raw)
		}
		made[way] = a.id(t, "id")
	}
	room := fmt.Sprintf("/rooms/%d", made["json"])
	var msg int64
	for way, args := range map[string][]string{
		"json":  json(`{"text":"hello ` + secret + `","nonce":"j1"}`),
		"form":  {"-d", "text=hello " + secret, "-H", "Idempotency-Key: f1"},
		"query": {"-X", "POST", "-G", "--data-urlencode", "text=hello " + secret, "-d", "nonce=q1"},
	} {
		first, again := curl(t, h, tok, room+"/messages", args...), curl(t, h, tok, room+"/messages", args...)
		if first.status != 201 || again.status != 201 || again.id(t, "id") != first.id(t, "id") || again.body["duplicate"] != true {
			t.Errorf("%s: POST messages: %d %s, then %d %s", way, first.status, first.raw, again.status, again.raw)
		}
		msg = max(msg, first.id(t, "id"))
	}
	eventually(t, "three lines are stored", func() bool {
		list, _ := curl(t, h, tok, room+"/messages?limit=50").body["messages"].([]any)
		return len(list) == 3
	})
	at := fmt.Sprintf("%s/messages/%d", room, msg)
	key := fresh("key")
	for _, c := range []struct {
		what   string
		token  string
		path   string
		args   []string
		status int
		has    string
	}{
		{"rooms", tok, "/rooms", nil, 200, `"rooms":[`},
		{"rooms, limited", tok, "/rooms?limit=1", nil, 200, `"rooms":[`},
		{"one room", tok, room, nil, 200, `"kind":"guild"`},
		{"not one's room", h.token(t, fresh("eve"), "chat.read chat.write"), room, nil, 404, `"code":"not_found"`},
		{"not one's messages", h.token(t, fresh("eve"), "chat.read chat.write"), room + "/messages", nil, 404, `"code":"not_found"`},
		{"not one's room to write in", h.token(t, fresh("eve"), "chat.read chat.write"), room + "/messages", []string{"-d", "text=x"}, 404, `"code":"not_found"`},
		{"no such room", tok, "/rooms/999999", nil, 404, `"code":"not_found"`},
		{"no token", "rubbish", "/rooms", nil, 401, `"code":"unauthorized"`},
		{"rename", tok, room, append([]string{"-X", "PATCH"}, json(`{"slow_mode":0,"meta":{"color":"blue"}}`)...), 200, `"blue"`},
		{"rename of another's", other, room, []string{"-X", "PATCH", "-d", "name=mine now"}, 403, `"code":"forbidden"`},
		{"a name taken", tok, "/rooms", []string{"-d", "kind=global", "-d", "name=Lobby"}, 403, `"code":"forbidden"`},
		{"members", tok, room + "/members", nil, 200, `"role":"owner"`},
		{"member made moderator", tok, fmt.Sprintf("%s/members/%d", room, bobID), []string{"-X", "PUT", "-d", "role=moderator"}, 200, `"role":"moderator"`},
		{"one message", tok, at, nil, 200, secret},
		{"oldest above", tok, room + "/messages?after=0&limit=1", nil, 200, `"more":true`},
		{"before", tok, fmt.Sprintf("%s/messages?before=%d&limit=1", room, msg), nil, 200, `"message_id"`},
		{"both", tok, room + "/messages?before=5&after=2", nil, 400, `"code":"bad_request"`},
		{"limit", tok, room + "/messages?limit=201", nil, 400, `"code":"bad_request"`},
		{"edit", tok, at, append([]string{"-X", "PATCH"}, json(`{"text":"edited `+secret+`"}`)...), 200, `"seq"`},
		{"edit of another's", other, at, []string{"-X", "PATCH", "-d", "text=mine"}, 403, `"code":"forbidden"`},
		{"react", other, at + "/reactions/%F0%9F%9A%80", []string{"-X", "PUT"}, 204, ""},
		{"unreact", other, at + "/reactions/%F0%9F%9A%80", []string{"-X", "DELETE"}, 204, ""},
		{"reply", other, room + "/messages", json(fmt.Sprintf(`{"text":"yes","reply_to":%d,"nonce":"r1"}`, msg)), 201, `"id"`},
		{"report", other, at + "/report", []string{"-d", "reason=rude"}, 202, `"ok":true`},
		{"read", other, room + "/read", []string{"-d", fmt.Sprintf("upto=%d", msg)}, 200, `"ok":true`},
		{"unread", other, "/unread", nil, 200, `"unread":[`},
		{"search", other, "/search?q=hello&limit=5", nil, 200, `"messages":[`},
		{"search for nothing", other, "/search", nil, 400, `"code":"bad_request"`},
		{"dm by handle", tok, "/dms", []string{"-d", "to=" + bob}, 200, `"room_id"`},
		{"dm by id", tok, "/dms", json(fmt.Sprintf(`{"to":%d}`, bobID)), 200, `"room_id"`},
		{"dm to nobody", tok, "/dms", []string{"-d", "to=nobody-of-that-name"}, 404, `"code":"not_found"`},
		{"too long", tok, room + "/messages", []string{"-d", "text=" + strings.Repeat("x", 4001)}, 413, `"code":"too_large"`},
		{"empty", tok, room + "/messages", []string{"-d", "text= "}, 400, `"code":"bad_request"`},
		{"not JSON", tok, room + "/messages", json(`{"text":`), 400, `"code":"bad_request"`},
		{"wrong type", tok, room + "/messages", json(`{"text":5}`), 400, `"code":"bad_request"`},
		{"another kind of body", tok, room + "/messages", []string{"-H", "Content-Type: text/xml", "-d", "<x/>"}, 400, `"code":"bad_request"`},
		{"no such method", tok, "/unread", []string{"-X", "DELETE"}, 405, `"code"`},
		{"no such address", tok, "/nowhere", nil, 404, `"code":"not_found"`},
		{"room with a key", tok, "/rooms", []string{"-H", "Idempotency-Key: " + key, "-d", "kind=party", "-d", "name=" + key}, 201, `"id"`},
		{"room with the key again", tok, "/rooms", []string{"-H", "Idempotency-Key: " + key, "-d", "kind=party", "-d", "name=" + key}, 201, `"id"`},
		{"the same name without", tok, "/rooms", []string{"-d", "kind=party", "-d", "name=" + key}, 409, `"code":"conflict"`},
		{"delete a message", tok, at, []string{"-X", "DELETE"}, 204, ""},
		{"leave", other, room + "/members/me", []string{"-X", "DELETE"}, 204, ""},
		{"archive", tok, room, []string{"-X", "DELETE"}, 204, ""},
		{"write to an archived room", tok, room + "/messages", []string{"-d", "text=x"}, 409, `"code"`},
		{"service", tok, "/.veze/service.json", nil, 200, `"VEZEPyChat"`},
		{"health", tok, "/health", nil, 200, `{"status":"ok"}`},
		{"livez", tok, "/livez", nil, 200, `ok`},
		{"readyz", tok, "/readyz", nil, 200, `"ready"`},
		{"openapi", tok, "/openapi.json", nil, 200, `"openapi"`},
		{"metrics", tok, "/metrics", nil, 200, `vezechat_edge_requests_total`},
	} {
		a := curl(t, h, c.token, c.path, c.args...)
		if a.status != c.status || !strings.Contains(a.raw, c.has) {
			t.Errorf("%s: %s %v: %d %.300s, want %d and %s", c.what, c.path, c.args, a.status, a.raw, c.status, c.has)
		}
		if c.status >= 400 && a.typ != "application/problem+json" {
			t.Errorf("%s: the error is %s", c.what, a.typ)
		}
	}
}

// Whoever writes without a pause is asked to wait, and told how long.
func TestClients_RateLimit(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, _ := h.globalRoom(t)
	tok := h.token(t, fresh("flood"), "chat.read chat.write")
	urls := fmt.Sprintf("%s/rooms/%d/messages?text=flood[1-200]", h.url, room)
	r := run(t, world.dir, nil, tool(t, "curl"), "-sS", "--max-time", "30", "-X", "POST", "-H", "Authorization: Bearer "+tok, "-o", "/dev/null",
		"-w", "%{http_code} %header{retry-after} %{content_type}\n", urls)
	if n := strings.Count(r.out, "201 "); n < 3 || n > 190 {
		t.Errorf("%d of 200 were taken", n)
	}
	if !regexp.MustCompile(`(?m)^429 [1-9]\d* application/problem\+json$`).MatchString(r.out) {
		t.Errorf("no 429 with Retry-After: %.300s %s", r.out, r.err)
	}
}
