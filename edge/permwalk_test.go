package edge_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// walker asks for each role. What a rule's marks stand for is made anew when a call
// has changed it, so that no answer depends on the one before:
//
//	{room}    a guild with a member, a moderator, an owner, and {peer}, a member
//	{global}  a global room, {lobby} another one, whose owner is another administrator
//	{public}  a guild that anyone may enter, {inviting} one to which user is invited
//	{invited} who is invited to {room}
//	{dm}      the direct messages of the member and {peer}
//	{message} a message of {peer} in {room}; {mine}: one of whoever asks, if they may
//	{inhook}  an incoming hook of such a guild, {token} what its address ends with
//	{outhook} an outgoing one, {hubhook} one of the whole hub
//	{asked}   the room of {ticket}, {notes} that of its staff
//	{visited} the guest's ticket, {visit} its room
type walker struct {
	*deskMaker
	ids    map[string]int64 // of those who have an account
	guest  opened
	global string
}

const peer = "peer"

func newWalker(t *testing.T, live bool) *walker {
	fast := edge.Rate{Every: time.Microsecond, Burst: 1 << 20}
	d := newDeskWorld(t, func(d *deskWorld) { d.live, d.limit = live, edge.Limits{User: fast, Room: fast} })
	w := &walker{deskMaker: &deskMaker{deskWorld: d}, ids: map[string]int64{}}
	for _, r := range append(slices.Clone(roles[2:]), peer) {
		w.ids[r] = w.user(w.handle(r))
	}
	w.ring = d.must(201, "POST", "/queues", d.admin(), `{"name":"Ring","offer_seconds":600}`).id(t)
	d.must(200, "PUT", fmt.Sprintf("/agents/%d", w.ids["ticket.manage"]), d.admin(), fmt.Sprintf(`{"capacity":10000,"places":[{"queue_id":%d,"tier":1}]}`, w.ring))
	d.must(200, "PUT", "/agents/me/status", d.staff(), `{"status":"online"}`)
	w.guest = d.visit("hello")
	w.global = fmt.Sprint(d.must(201, "POST", "/rooms", d.admin(), `{"name":"Lobby","kind":"global"}`).id(t))
	return w
}

// handle is the handle of a role.
func (w *walker) handle(role string) string {
	switch role {
	case "requester":
		return ann
	case "ticket.manage":
		return agent
	case "chat.admin":
		return boss
	}
	return strings.ReplaceAll(role, ".", "_")
}

// header is that of a role's requests.
func (w *walker) header(role string) http.Header {
	switch {
	case role == "nobody":
		return nil
	case role == "guest":
		return w.guest.header()
	case strings.Contains(role, "."):
		return w.as(w.handle(role), vezechat.Scope(role))
	}
	return w.as(w.handle(role))
}

// guild makes a room in which everybody is what their name says.
func (w *walker) guild() string {
	w.t.Helper()
	owner := w.as("owner")
	body := fmt.Sprintf(`{"name":%q,"kind":"guild","members":[%d,%d,%d]}`, w.name("Guild"), w.ids["member"], w.ids["moderator"], w.ids[peer])
	at := fmt.Sprintf("/rooms/%d", w.must(201, "POST", "/rooms", owner, body).id(w.t))
	w.must(200, "PUT", fmt.Sprintf("%s/members/%d", at, w.ids["moderator"]), owner, `{"role":"moderator"}`)
	return at
}

// said says something and waits until it can be read.
func (w *walker) said(at string, h http.Header) string {
	w.t.Helper()
	id := fmt.Sprint(w.must(201, "POST", at+"/messages", h, `{"text":"first"}`).id(w.t))
	w.must(200, "GET", at+"/messages?min="+id, h, "")
	return id
}

// marks are those of rooms, of tickets' rooms, and of guests.
func (w *walker) marks(text, role string) (pairs []string) {
	w.t.Helper()
	has := func(mark string) bool { return strings.Contains(text, mark) }
	pairs = []string{
		"{global}", w.global, "{peer}", fmt.Sprint(w.ids[peer]), "{visited}", w.guest.Ticket.ID.String(), "{visit}", w.guest.Ticket.Room.String(),
		"{nonce}", strings.ReplaceAll(w.name("nonce"), " ", "-"),
	}
	if has("{inhook}") || has("/hooks/rooms/{token}") {
		var hook struct {
			ID   int64
			Path string
		}
		w.must(201, "POST", w.guild()+"/hooks/incoming", w.as("owner"), `{"name":"Build"}`).json(w.t.(*testing.T), &hook)
		return append(pairs, "{inhook}", fmt.Sprint(hook.ID), "{token}", strings.TrimPrefix(hook.Path, "/hooks/rooms/"))
	}
	if has("{outhook}") {
		body := `{"name":"Tell","url":"https://example.com/hook","events":["room.archived"]}`
		pairs = append(pairs, "{outhook}", fmt.Sprint(w.must(201, "POST", w.guild()+"/hooks/outgoing", w.as("owner"), body).id(w.t)))
	}
	if has("{hubhook}") {
		pairs = append(pairs, "{hubhook}", w.made("/admin/hooks", `{"name":%q,"url":"https://example.com/hook","events":["room.archived"]}`))
	}
	if has("{token}") {
		_, token, _ := strings.Cut(w.header(role).Get("Authorization"), " ")
		if role == "nobody" {
			token = w.token("zoe")
		}
		pairs = append(pairs, "{token}", token)
	}
	if has("{handle}") {
		handle := strings.ToLower(strings.ReplaceAll(w.name("newcomer"), " ", ""))
		w.user(handle)
		pairs = append(pairs, "{handle}", "@"+handle)
	}
	if has("{room}") {
		at := w.guild()
		pairs = append(pairs, "{room}", strings.TrimPrefix(at, "/rooms/"))
		if has("{message}") {
			pairs = append(pairs, "{message}", w.said(at, w.as(peer)))
		}
		if has("{mine}") {
			h := w.as(peer)
			if slices.Contains([]string{"member", "moderator", "owner", "chat.admin"}, role) {
				h = w.header(role)
			}
			pairs = append(pairs, "{mine}", w.said(at, h))
		}
	}
	if has("{invited}") {
		id := w.user(strings.ReplaceAll(w.name("invited"), " ", ""))
		w.must(201, "POST", "/rooms/"+pairs[len(pairs)-1]+"/invitations", w.as("owner"), fmt.Sprintf(`{"user_id":%d}`, id))
		pairs = append(pairs, "{invited}", fmt.Sprint(id))
	}
	if has("{public}") {
		body := fmt.Sprintf(`{"name":%q,"kind":"guild","public":true}`, w.name("Public"))
		pairs = append(pairs, "{public}", fmt.Sprint(w.must(201, "POST", "/rooms", w.as(peer), body).id(w.t)))
	}
	if has("{lobby}") {
		body := fmt.Sprintf(`{"name":%q,"kind":"global"}`, w.name("Lobby"))
		pairs = append(pairs, "{lobby}", fmt.Sprint(w.must(201, "POST", "/rooms", w.as("founder", vezechat.ScopeChatAdmin), body).id(w.t)))
	}
	if has("{inviting}") {
		at := w.guild()
		w.must(201, "POST", at+"/invitations", w.as("owner"), `{"handle":"@user"}`)
		pairs = append(pairs, "{inviting}", strings.TrimPrefix(at, "/rooms/"))
	}
	if has("{dm}") {
		var dm struct {
			Room int64 `json:"room_id"`
		}
		w.must(200, "POST", "/dms", w.as("member"), `{"to":"@peer"}`).json(w.t.(*testing.T), &dm)
		pairs = append(pairs, "{dm}", fmt.Sprint(dm.Room))
	}
	if has("{asked}") || has("{notes}") {
		tk := ticketIn(w.t.(*testing.T), w.must(200, "GET", "/tickets/"+w.asked(), w.staff(), ""))
		pairs = append(pairs, "{asked}", tk.Room.String(), "{notes}", tk.NotesRoom.String())
	}
	return pairs
}

// filled is a rule's call and body for a role.
func (w *walker) filled(r rule, role string) (call, body string) {
	w.t.Helper()
	return w.fill(r.call, r.body, w.marks(r.call+r.body, role)...)
}

// Every route is asked for every role, and the answer is what the table says. Answers
// are as openapi.json has them.
func TestPermissions_EveryRoute(t *testing.T) {
	t.Parallel()
	w, api := newWalker(t, true), readAPI(t)
	for _, r := range rules {
		if len(r.who) != len(roles) {
			t.Errorf("%s: %d letters for %d roles", r.call, len(r.who), len(roles))
			continue
		}
		var call, body string
		for i, role := range roles {
			if call == "" || strings.Contains(r.call, "{mine}") {
				call, body = w.filled(r, role)
			}
			method, path, _ := strings.Cut(call, " ")
			want := outcomes[r.who[i]].status
			if want == 0 {
				want = r.ok
			}
			a := w.do(method, path, w.header(role), body)
			for range 20 { // a machine that is busy
				if a.status != 503 {
					break
				}
				time.Sleep(100 * time.Millisecond)
				a = w.do(method, path, w.header(role), body)
			}
			if a.status != want {
				t.Errorf("%s: %s %s: %d %s, want %d", role, r.call, body, a.status, a.body, want)
			}
			if call == "POST /support/leave" && a.status < 300 {
				w.guest = w.visit("hello again")
			}
			typ := a.header.Get("Content-Type")
			if (a.body == "" || strings.HasPrefix(typ, "application/json")) && a.status < 300 && !strings.HasSuffix(path, "api.json") {
				api.conforms(t, method, path, a)
			}
			if strings.HasPrefix(typ, "application/json") && !strings.HasSuffix(path, "api.json") && strings.Contains(a.body, "null") {
				t.Errorf("%s: %s: null in %s", role, r.call, a.body)
			}
			checkHeaders(t, a)
			if a.status < 300 && method != http.MethodGet {
				call = "" // it has changed something
			}
		}
	}
}

var opPattern = regexp.MustCompile(`Op[A-Z]\w*\s+Op = "(\w+)"`)

// Every operation of a socket is asked for every role, in a room that it has not
// joined and, where it may, in one that it has.
func TestPermissions_EveryOperation(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("wire/wire.go")
	must(t, err)
	ops := map[string]bool{}
	for _, m := range opPattern.FindAllStringSubmatch(string(src), -1) {
		ops[m[1]] = false
	}
	if len(ops) < 16 {
		t.Fatalf("only %d operations found", len(ops))
	}
	w := newWalker(t, true)
	base, _ := w.serve(t)
	for _, r := range operations {
		if _, ok := ops[r.call]; !ok || len(r.who) != len(roles) {
			t.Errorf("%s: no such operation, or %d letters for %d roles", r.call, len(r.who), len(roles))
			continue
		}
		ops[r.call] = true
		for i, role := range roles {
			for _, joined := range []bool{false, true} {
				w.asksSocket(base, r, role, joined, outcomes[r.who[i]].code)
			}
		}
	}
	for _, op := range slices.Sorted(maps.Keys(ops)) {
		if !ops[op] {
			t.Errorf("%s has no rule in permissions_test.go", op)
		}
	}
}

var roomID = regexp.MustCompile(`"room_id":(\d+)`)

// asksSocket asks an operation on a socket of its own, and compares the answer.
func (w *walker) asksSocket(base string, r rule, role string, joined bool, want string) {
	t := w.t.(*testing.T)
	t.Helper()
	if joined && role == "nobody" {
		return
	}
	_, body := w.filled(r, role)
	c := dial(t, base, "/ws", w.header(role))
	defer c.conn.Close()
	ask := `{"type":"` + r.call + `"`
	if body != "" {
		ask += "," + body[1:len(body)-1]
	}
	if role == "nobody" {
		c.say("%s", ask+`,"ref":1}`)
		if want == "closed" {
			if code := c.closed(); code != int(wire.CloseNoAuth) {
				t.Errorf("nobody: %s: closed with %d", r.call, code)
			}
		} else if o := c.find("an answer", func(o object) bool { return o["ref"] == 1.0 }); o["type"] == "error" {
			t.Errorf("nobody: %s: %v", r.call, o)
		}
		return
	}
	c.event("hello")
	m := roomID.FindStringSubmatch(body)
	if joined = joined && m != nil; joined || r.call == "typing" || r.call == "who" { // those two are of who is there
		if r.call == "join" {
			return
		}
		c.ask("j", `{"type":"join","room_id":%s}`, m[1])
	}
	o := c.ask(1, "%s", ask+"}")
	code, _ := o["code"].(string)
	if code != want {
		t.Errorf("%s (joined: %t): %s %s: %v, want %q", role, joined, r.call, body, o, want)
	}
}
