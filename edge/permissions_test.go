package edge_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The table of who may do what. docs/permissions.md is written from it (go test ./edge
// -run Permissions_Documented -update), and the walks ask every rule for every role:
// what it says is what the hub does.

// The roles, in the order of rule.who. A member, moderator and owner are that in
// {room}, the requester has asked for {ticket}; the others are strangers to both.
var roles = []string{"nobody", "guest", "user", "member", "moderator", "owner", "requester", "chat.moderate", "ticket.manage", "chat.admin", "chat.act_as"}

// rule is a call, and what becomes of it for each role, a letter each: see outcomes.
// Marks in braces are replaced by something made for each: see walker.
type rule struct {
	call string // "GET /rooms/{room}", or the name of an operation on sockets
	body string
	ok   int // the status where it is allowed
	who  string
}

// outcomes are what the letters stand for.
var outcomes = map[byte]struct {
	status int    // 0: that of the rule
	code   string // on sockets
	told   string // in the document
}{
	'y': {0, "", "yes"},
	'u': {401, "closed", "401"},
	'f': {403, "forbidden", "403"},
	'n': {404, "not_found", "404"},
	'c': {409, "conflict", "409"},
	'w': {426, "", "426"},
}

// Whom most rules are for.
const (
	everybody  = "yyyyyyyyyyy"
	accounts   = "ufyyyyyyyyy" // whoever has one
	here       = "ufnyyynnnyn" // in the room, or an administrator
	runs       = "ufnfyynnnyn" // the room
	moderates  = "ufnfyynynyn" // the room, or the hub
	owns       = "ufnffynnnyn"
	askers     = "unnnnnynyyn" // about the ticket: its requester and the desk
	asksNoPass = "ufnnnnynyyn" // the same, and no guest
	staffs     = "ufnnnnfnyyn" // with the ticket
)

// rules are all HTTP routes, some more than once: for several kinds of rooms.
var rules = []rule{
	{"GET /", "", 303, everybody},
	{"GET /health", "", 200, everybody},
	{"GET /livez", "", 200, everybody},
	{"GET /readyz", "", 200, everybody},
	{"GET /metrics", "", 200, everybody},
	{"GET /.veze/service.json", "", 200, everybody},
	{"GET /openapi.json", "", 200, everybody},
	{"GET /asyncapi.json", "", 200, everybody},
	{"GET /docs", "", 200, everybody},
	{"GET /static/veze.css", "", 200, everybody},
	{"GET /auth/signin", "", 200, everybody},
	{"GET /auth/dev", "", 200, everybody},
	{"POST /auth/dev", `{"handle":"zoe"}`, 200, everybody},
	{"GET /auth/callback", "", 404, "nnnnnnnnnnn"}, // nobody signs in at a provider here
	{"POST /auth/refresh", "", 404, "nnnnnnnnnnn"},
	{"POST /auth/backchannel", `{"logout_token":"x"}`, 404, "nnnnnnnnnnn"},
	{"GET /auth/signedout", "", 200, everybody},
	{"GET /auth/me", "", 200, accounts},
	{"POST /auth/signout", "", 204, accounts},
	{"GET /ws", "", 426, "wwwwwwwwwww"}, // the operations have rules of their own
	{"GET /ws/rooms/{room}", "", 426, "wwwwwwwwwww"},

	{"GET /rooms", "", 200, accounts},
	{"POST /rooms", `{"name":"{name}","kind":"guild"}`, 201, accounts},
	{"POST /rooms", `{"name":"{name}","kind":"global"}`, 201, "uffffffffyf"},
	{"GET /rooms/{room}", "", 200, here},
	{"GET /rooms/{global}", "", 200, accounts},
	{"GET /rooms/{dm}", "", 200, "ufnynnnnnnn"},
	{"GET /rooms/{asked}", "", 200, "ufnnnnynyyn"},
	{"GET /rooms/{notes}", "", 200, "ufnnnnnnyyn"},
	{"PATCH /rooms/{room}", `{"slow_mode":0}`, 200, owns},
	{"PATCH /rooms/{global}", `{"slow_mode":0}`, 200, "uffffffyfyf"},
	{"PATCH /rooms/{dm}", `{"slow_mode":0}`, 200, "ufnfnnnnnnn"},
	{"DELETE /rooms/{room}", "", 204, owns},
	{"DELETE /rooms/{lobby}", "", 204, "uffffffffyf"},
	{"POST /rooms/{room}/join", "", 200, here},
	{"POST /rooms/{global}/join", "", 200, accounts},
	{"POST /rooms/{room}/leave", "", 204, "ufnyycnnnyn"}, // its last owner,
	{"POST /rooms/{dm}/leave", "", 204, "ufnfnnnnnnn"},
	{"GET /rooms/{room}/members", "", 200, here},
	{"POST /rooms/{room}/members", `{"handle":"{handle}"}`, 200, runs},
	{"POST /rooms/{dm}/members", `{"handle":"{handle}"}`, 200, "ufnfnnnnnnn"},
	{"PUT /rooms/{room}/members/{user}", `{"role":"member"}`, 200, runs},
	{"PUT /rooms/{room}/members/{peer}", `{"role":"moderator"}`, 200, owns},
	{"DELETE /rooms/{room}/members/{peer}", "", 204, runs},
	{"POST /rooms/{room}/members/{peer}/remove", "", 204, runs},
	{"GET /rooms/{public}", "", 200, accounts},
	{"POST /rooms/{public}/join", "", 200, accounts},
	{"POST /rooms/{public}/messages", `{"text":"hi"}`, 201, "unfffffyfyf"},
	{"GET /rooms/{room}/invitations", "", 200, runs},
	{"POST /rooms/{room}/invitations", `{"handle":"{handle}"}`, 201, runs},
	{"DELETE /rooms/{room}/invitations/{invited}", "", 204, runs},
	{"POST /rooms/{room}/invitations/accept", "", 200, "ufnyyynnnnn"}, // members are that already
	{"POST /rooms/{inviting}/invitations/accept", "", 200, "ufyyyynnnnn"},
	{"POST /rooms/{inviting}/invitations/decline", "", 204, "ufynnnnnnnn"},
	{"GET /users/me/invitations", "", 200, accounts},
	{"GET /users/me/blocks", "", 200, accounts},
	{"PUT /users/me/blocks/{user}", "", 204, accounts},
	{"DELETE /users/me/blocks/{user}", "", 204, accounts},
	{"POST /rooms/{room}/read", `{"upto":1}`, 200, "unnyyynnnyn"},
	{"POST /rooms/{visit}/read", `{"upto":1}`, 200, "uynnnnnnyyn"},
	{"GET /unread", "", 200, accounts},
	{"POST /dms", `{"to":"{handle}"}`, 200, accounts},

	{"GET /rooms/{room}/messages", "", 200, "unnyyynnnyn"},
	{"GET /rooms/{dm}/messages", "", 200, "unnynnnnnnn"},
	{"GET /rooms/{notes}/messages", "", 200, "unnnnnnnyyn"},
	{"GET /rooms/{visit}/messages", "", 200, "uynnnnnnyyn"},
	{"POST /rooms/{room}/messages", `{"text":"hi"}`, 201, "unnyyynnnyn"},
	{"POST /rooms/{room}/messages", `{"text":"hi","user_id":{peer}}`, 201, "ufffffffffy"},
	{"POST /rooms/{global}/messages", `{"text":"hi"}`, 201, "unyyyyyyyyy"},
	{"POST /rooms/{visit}/messages", `{"text":"hi"}`, 201, "uynnnnnnyyn"},
	{"GET /rooms/{room}/messages/{message}", "", 200, here},
	{"PATCH /rooms/{room}/messages/{message}", `{"text":"ho"}`, 200, "ufnfffnnnfn"},
	{"PATCH /rooms/{room}/messages/{mine}", `{"text":"ho"}`, 200, "ufnyyynnnyn"},
	{"DELETE /rooms/{room}/messages/{message}", "", 204, runs},
	{"DELETE /rooms/{room}/messages/{mine}", "", 204, "ufnyyynnnyn"},
	{"PUT /rooms/{room}/messages/{message}/reactions/%F0%9F%9A%80", "", 204, here},
	{"DELETE /rooms/{room}/messages/{message}/reactions/%F0%9F%9A%80", "", 204, here},
	{"POST /rooms/{room}/messages/{message}/report", `{"reason":"spam"}`, 202, here},
	{"GET /search?q=first", "", 200, accounts},
	{"GET /ticker", "", 200, accounts},
	{"GET /ticker?room={room}", "", 200, here},
	{"GET /ticker?room={dm}", "", 200, "ufnynnnnnnn"},

	{"GET /tickets", "", 200, accounts},
	{"POST /tickets", `{"subject":"Help"}`, 201, accounts},
	{"GET /tickets/{ticket}", "", 200, askers},
	{"PATCH /tickets/{ticket}", `{"priority":"high"}`, 200, staffs},
	{"POST /tickets/{ticket}/assign", `{"assignee_id":"agent"}`, 200, staffs},
	{"POST /tickets/{ticket}/unassign", "", 200, staffs},
	{"POST /tickets/{ticket}/transfer", `{"queue_id":{queue}}`, 200, staffs},
	{"POST /tickets/{ticket}/transition", `{"move":"solve"}`, 200, asksNoPass},
	{"GET /tickets/{ticket}/comments", "", 200, askers},
	{"POST /tickets/{ticket}/comments", `{"text":"hello"}`, 201, askers},
	{"GET /tickets/{ticket}/notes", "", 200, staffs},
	{"POST /tickets/{ticket}/notes", `{"text":"hello"}`, 201, staffs},
	{"POST /tickets/{ticket}/tags", `{"add":["ship"]}`, 200, staffs},
	{"POST /tickets/{ticket}/merge", `{"into":{other}}`, 200, staffs},
	{"POST /tickets/{spoken}/split", `{"from":{message},"subject":"Another"}`, 201, staffs},
	{"POST /tickets/{closed}/followup", `{"body":"again"}`, 201, asksNoPass},
	{"POST /tickets/{solved}/rate", `{"score":5}`, 200, "unnnnnynffn"},
	{"GET /tickets/{ticket}/history", "", 200, staffs},
	{"GET /tickets/{ticket}/clocks", "", 200, staffs},
	{"GET /tickets/{ticket}/why", "", 200, staffs},
	{"GET /tickets/{ticket}/place", "", 200, askers},
	{"GET /tickets/{ticket}/links", "", 200, staffs},
	{"PUT /tickets/{ticket}/links/{other}", `{"kind":"blocks"}`, 204, staffs},
	{"DELETE /tickets/{ticket}/links/{other}", "", 204, staffs},
	{"GET /tickets/{ticket}/watchers", "", 200, staffs},
	{"PUT /tickets/{ticket}/watchers/me", "", 204, staffs},
	{"DELETE /tickets/{ticket}/watchers/me", "", 204, staffs},
	{"POST /tickets/{ticket}/attend", `{"mode":"viewing"}`, 200, staffs},
	{"POST /tickets/{ticket}/macros/{macro}", "", 200, staffs},
	{"POST /tickets/bulk", `{"ids":[{ticket}],"actions":[{"do":"take"}]}`, 200, "ufffffffyyf"},

	{"POST /tickets/{ticket}/links", `{"other_id":{other}}`, 200, staffs},
	{"POST /tickets/{ticket}/fields", `{"field_{field}":"1"}`, 200, staffs},
	{"GET /inbox", "", 200, "ufffffffyyf"},
	{"GET /support", "", 200, everybody},
	{"POST /support", `{"text":"help"}`, 201, "ycyyyyyyyyy"},
	{"POST /support/email", `{"email":"a@b.example"}`, 200, "uyfffffffff"}, // guests only
	{"POST /support/leave", "", 204, "uyfffffffff"},

	{"GET /views", "", 200, "ufffffffyyf"},
	{"POST /views", `{"name":"Mine","filter":{"mine":true}}`, 201, "ufffffffyyf"},
	{"PUT /views/{view}", `{"name":"All","shared":true}`, 200, "uffffffffyf"},
	{"DELETE /views/{view}", "", 204, "ufffffffnyf"},
	{"GET /macros", "", 200, "ufffffffyyf"},
	{"POST /macros", `{"name":"Hello","text":"Hello"}`, 201, "ufffffffyyf"},
	{"PUT /macros/{macro}", `{"name":"Hello","text":"Hello","shared":true}`, 200, "uffffffffyf"},
	{"DELETE /macros/{macro}", "", 204, "ufffffffnyf"},
	{"GET /ticket-fields", "", 200, "ufffffffyyf"},
	{"POST /ticket-fields", `{"key":"hull","name":"Hull","type":"text"}`, 201, "uffffffffyf"},
	{"PUT /ticket-fields/hull", `{"name":"Hull","type":"text"}`, 200, "uffffffffyf"},
	{"DELETE /ticket-fields/{field}", "", 204, "uffffffffyf"},

	{"GET /agents", "", 200, "ufffffffyyf"},
	{"PUT /agents/{user}", `{"capacity":50}`, 200, "uffffffffyf"},
	{"DELETE /agents/{user}", "", 204, "uffffffffyf"},
	{"GET /agents/me/status", "", 200, "ufffffffynf"}, // the administrator is no agent
	{"PUT /agents/me/status", `{"status":"online"}`, 200, "ufffffffynf"},
	{"GET /offers", "", 200, "ufffffffyyf"},
	{"POST /offers/{offer}/accept", "", 200, "ufffffffynf"}, // nor is the offer theirs
	{"POST /offers/{offer}/decline", "", 200, "ufffffffynf"},
	{"GET /board", "", 200, "ufffffffyyf"},

	{"GET /queues", "", 200, "ufffffffyyf"},
	{"POST /queues", `{"name":"{name}"}`, 201, "uffffffffyf"},
	{"PUT /queues/{queue}", `{"name":"{name}"}`, 200, "uffffffffyf"},
	{"DELETE /queues/{queue}", "", 204, "uffffffffyf"},
	{"GET /skills", "", 200, "ufffffffyyf"},
	{"POST /skills", `{"name":"{name}"}`, 201, "uffffffffyf"},
	{"PUT /skills/{skill}", `{"name":"{name}"}`, 200, "uffffffffyf"},
	{"DELETE /skills/{skill}", "", 204, "uffffffffyf"},
	{"GET /sla-policies", "", 200, "ufffffffyyf"},
	{"POST /sla-policies", `{"name":"{name}"}`, 201, "uffffffffyf"},
	{"PUT /sla-policies/{policy}", `{"name":"{name}"}`, 200, "uffffffffyf"},
	{"DELETE /sla-policies/{policy}", "", 204, "uffffffffyf"},
	{"GET /calendars", "", 200, "ufffffffyyf"},
	{"POST /calendars", `{"name":"{name}","zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`, 201, "uffffffffyf"},
	{"PUT /calendars/{calendar}", `{"name":"{name}","zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`, 200, "uffffffffyf"},
	{"DELETE /calendars/{calendar}", "", 204, "uffffffffyf"},

	{"GET /moderation", "", 303, accounts},
	{"GET /moderation/queue?room={room}", "", 200, moderates},
	{"POST /moderation/actions", `{"action":"mute","room_id":{room},"user_id":{peer}}`, 200, moderates},
	{"POST /moderation/actions", `{"action":"lock","room_id":{room}}`, 200, moderates},
	{"POST /moderation/actions", `{"action":"hide","room_id":{room},"message_id":{message}}`, 200, moderates},
	{"POST /moderation/actions", `{"action":"ban","user_id":{user}}`, 200, "uffffffyfyf"},
	{"POST /moderation/actions", `{"action":"mute","room_id":{dm},"user_id":{peer}}`, 403, "ufnfnnnnnnn"},
	{"GET /moderation/audit", "", 200, "uffffffyfyf"},
	{"GET /moderation/audit?room={room}", "", 200, moderates},
	{"GET /moderation/rules", "", 200, "uffffffyfyf"},
	{"PUT /moderation/rules", `{"version":0,"rules":{"lists":[],"rooms":{},"spam":{"window":10},"links":{}}}`, 200, "uffffffffyf"},
	{"GET /moderation/held", "", 200, accounts},
	{"POST /moderation/appeals", `{"held_id":1,"text":"why?"}`, 404, "ufnnnnnnnnn"}, // there is none

	{"GET /admin/keys", "", 200, "uffffffffyf"},
	{"POST /admin/keys", `{"name":"{name}","handle":"bot","scopes":["chat.read"]}`, 201, "uffffffffyf"},
	{"DELETE /admin/keys/{apikey}", "", 204, "uffffffffyf"},

	{"GET /rooms/{room}/hooks", "", 200, runs},
	{"GET /rooms/{room}/hooks/incoming", "", 200, runs},
	{"GET /rooms/{dm}/hooks/incoming", "", 200, "ufnfnnnnnnn"},
	{"POST /rooms/{room}/hooks/incoming", `{"name":"{name}"}`, 201, runs},
	{"POST /rooms/{global}/hooks/incoming", `{"name":"{name}"}`, 201, "uffffffyfyf"},
	{"POST /rooms/{asked}/hooks/incoming", `{"name":"{name}"}`, 403, "ufnnnnfnffn"},
	{"POST /hooks/incoming/{inhook}/rotate", "", 200, runs},
	{"DELETE /hooks/incoming/{inhook}", "", 204, runs},
	{"POST /hooks/rooms/{token}", `{"text":"{name}"}`, 201, everybody},

	{"GET /rooms/{room}/hooks/outgoing", "", 200, runs},
	{"POST /rooms/{room}/hooks/outgoing", `{"name":"{name}","url":"https://example.com/hook","events":["chat.message.created"]}`, 201, runs},
	{"POST /rooms/{dm}/hooks/outgoing", `{"name":"{name}","url":"https://example.com/hook","events":["chat.message.created"]}`, 403, "ufnfnnnnnnn"},
	{"GET /admin/hooks", "", 200, "uffffffffyf"},
	{"POST /admin/hooks", `{"name":"{name}","url":"https://example.com/hook","events":["room.created"]}`, 201, "uffffffffyf"},
	{"PATCH /hooks/outgoing/{outhook}", `{"on":false}`, 200, runs},
	{"PATCH /hooks/outgoing/{hubhook}", `{"on":false}`, 200, "uffffffffyf"},
	{"POST /hooks/outgoing/{outhook}/rotate", "", 200, runs},
	{"GET /hooks/outgoing/{outhook}/deliveries", "", 200, runs},
	{"POST /hooks/outgoing/{outhook}/deliveries/1/redeliver", "", 404, "ufnfnnnnnnn"}, // there is none
	{"DELETE /hooks/outgoing/{outhook}", "", 204, runs},
	{"GET /admin/emails", "", 200, "uffffffffyf"},
	{"POST /admin/emails/{email}/retry", "", 200, "uffffffffyf"},
	{"GET /users/me/email", "", 200, accounts},
	{"PUT /users/me/email", `{"tickets":true}`, 200, accounts},
	{"POST /hooks/email", `{}`, 200, "uuuuuuuuuuu"}, // it is not signed
	{"GET /tickets/{ticket}/attachments", "", 200, askers},
	{"GET /tickets/{visited}/attachments", "", 200, "uynnnnnnyyn"},
	{"GET /tickets/{filed}/attachments/{file}", "", 200, askers},
	{"GET /email/unsubscribe?{unsubscribe}", "", 200, everybody},
	{"POST /email/unsubscribe?{unsubscribe}", "", 200, everybody},

	{"GET /rooms/{room}/commands", "", 200, here},
	{"GET /rooms/{dm}/commands", "", 200, "ufnynnnnnnn"},
	{"GET /commands", "", 200, accounts},
	{"PUT /commands/roll", `{"description":"Rolls dice"}`, 403, "uffffffffff"}, // bots register them
	{"DELETE /commands/roll", "", 404, "ufnnnnnnnnn"},                          // there is none

	{"GET /tickets/{visited}", "", 200, "uynnnnnnyyn"},
	{"GET /tickets/{visited}/comments", "", 200, "uynnnnnnyyn"},
	{"POST /tickets/{visited}/comments", `{"text":"hello"}`, 201, "uynnnnnnyyn"},
	{"GET /tickets/{visited}/place", "", 200, "uynnnnnnyyn"},
	{"GET /tickets/{visited}/notes", "", 200, "ufnnnnnnyyn"},
	{"GET /tickets/{visited}/history", "", 200, "ufnnnnnnyyn"},
}

// operations are all of sockets, some more than once.
var operations = []rule{
	{"ping", "", 0, "uyyyyyyyyyy"},
	{"auth", `{"token":"{token}"}`, 0, "yyyyyyyyyyy"},
	{"join", `{"room_id":{room}}`, 0, "unnyyynnnyn"},
	{"join", `{"room_id":{global}}`, 0, "unyyyyyyyyy"},
	{"join", `{"room_id":{dm}}`, 0, "unnynnnnnnn"},
	{"join", `{"room_id":{asked}}`, 0, "unnnnnynyyn"},
	{"join", `{"room_id":{notes}}`, 0, "unnnnnnnyyn"},
	{"join", `{"room_id":{visit}}`, 0, "uynnnnnnyyn"},
	{"leave", `{"room_id":{room}}`, 0, "uyyyyyyyyyy"},
	{"send", `{"room_id":{room},"text":"hi","nonce":"{nonce}"}`, 0, "unnyyynnnyn"},
	{"send", `{"room_id":{visit},"text":"hi","nonce":"{nonce}"}`, 0, "uynnnnnnyyn"},
	{"edit", `{"room_id":{room},"message_id":{message},"text":"ho"}`, 0, "ufnfffnnnfn"},
	{"edit", `{"room_id":{room},"message_id":{mine},"text":"ho"}`, 0, "ufnyyynnnyn"},
	{"delete", `{"room_id":{room},"message_id":{message}}`, 0, runs},
	{"delete", `{"room_id":{room},"message_id":{mine}}`, 0, "ufnyyynnnyn"},
	{"react", `{"room_id":{room},"message_id":{message},"emoji":"🚀"}`, 0, here},
	{"unreact", `{"room_id":{room},"message_id":{message},"emoji":"🚀"}`, 0, here},
	{"read", `{"room_id":{room},"upto":1}`, 0, "unnyyynnnyn"},
	{"typing", `{"room_id":{room}}`, 0, "unnyyynnnyn"},
	{"who", `{"room_id":{room}}`, 0, here},
	{"history", `{"room_id":{room}}`, 0, "unnyyynnnyn"},
	{"history", `{"room_id":{visit}}`, 0, "uynnnnnnyyn"},
	{"watch", `{"topics":["desk"]}`, 0, "ufffffffyyf"},
	{"watch", `{"topics":["board"]}`, 0, "ufffffffyyf"},
	{"watch", `{"ticket_id":{ticket}}`, 0, "unnnnnynyyn"},
	{"watch", `{"ticket_id":{visited}}`, 0, "uynnnnnnyyn"},
	{"unwatch", `{"topics":["desk"]}`, 0, "uyyyyyyyyyy"},
	{"duty", "", 0, "ufffffffynf"},
}

var update = flag.Bool("update", false, "write docs/permissions.md anew")

// table is the rules as the document has them.
func table(rules []rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|---%s|\n", strings.Join(roles, " | "), strings.Repeat("|:-:", len(roles)))
	for _, r := range rules {
		call := strings.Replace(r.call, "%F0%9F%9A%80", "🚀", 1)
		if r.body != "" {
			call += " " + r.body
		}
		fmt.Fprintf(&b, "| `%s`", call)
		for i := range r.who {
			fmt.Fprintf(&b, " | %s", outcomes[r.who[i]].told)
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// The document has the table as it is.
func TestPermissions_Documented(t *testing.T) {
	t.Parallel()
	const path = "../docs/permissions.md"
	b, err := os.ReadFile(path)
	must(t, err)
	doc := string(b)
	for name, rules := range map[string][]rule{"routes": rules, "operations": operations} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
		before, rest, ok := strings.Cut(doc, begin)
		was, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place for the table of %s", path, name)
		}
		want := table(rules)
		if doc = before + begin + want + end + after; was != want && !*update {
			t.Errorf("%s has another table of %s than permissions_test.go: write it with -update", path, name)
		}
	}
	if *update {
		must(t, os.WriteFile(path, []byte(doc), 0o644))
	}
}
