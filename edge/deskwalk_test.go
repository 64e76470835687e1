package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// deskCall is a call about tickets, and what becomes of it for nobody, for a user who
// is a stranger to the ticket, for its requester, for the staff and for an
// administrator. In path and body, marks are replaced by something made for each:
// see deskMarks.
type deskCall struct {
	method, path, body string
	want               [5]int
}

// What most calls come to.
var (
	ofEverybody  = [5]int{401, 200, 200, 200, 200}
	ofOneTicket  = [5]int{401, 404, 200, 200, 200}
	ofTheDesk    = [5]int{401, 404, 403, 200, 200} // on a ticket
	ofTheDesk201 = [5]int{401, 404, 403, 201, 201}
	ofTheDesk204 = [5]int{401, 404, 403, 204, 204}
	deskReads    = [5]int{401, 403, 403, 200, 200}
	deskMakes    = [5]int{401, 403, 403, 201, 201}
	adminMakes   = [5]int{401, 403, 403, 403, 201}
	adminChanges = [5]int{401, 403, 403, 403, 200}
	adminDrops   = [5]int{401, 403, 403, 403, 204}
)

var deskCalls = []deskCall{
	{"GET", "/tickets", "", ofEverybody},
	{"POST", "/tickets", `{"subject":"Help"}`, [5]int{401, 201, 201, 201, 201}},
	{"GET", "/tickets/{ticket}", "", ofOneTicket},
	{"PATCH", "/tickets/{ticket}", `{"priority":"high"}`, ofTheDesk},
	{"POST", "/tickets/{ticket}/assign", `{"assignee_id":"agent"}`, ofTheDesk},
	{"POST", "/tickets/{ticket}/unassign", "", ofTheDesk},
	{"POST", "/tickets/{ticket}/transfer", `{"queue_id":{queue}}`, ofTheDesk},
	{"POST", "/tickets/{ticket}/transition", `{"move":"solve"}`, ofOneTicket},
	{"GET", "/tickets/{ticket}/comments", "", ofOneTicket},
	{"POST", "/tickets/{ticket}/comments", `{"text":"hello"}`, [5]int{401, 404, 201, 201, 201}},
	{"GET", "/tickets/{ticket}/notes", "", ofTheDesk},
	{"POST", "/tickets/{ticket}/notes", `{"text":"hello"}`, ofTheDesk201},
	{"POST", "/tickets/{ticket}/tags", `{"add":["ship"]}`, ofTheDesk},
	{"POST", "/tickets/{ticket}/merge", `{"into":{other}}`, ofTheDesk},
	{"POST", "/tickets/{spoken}/split", `{"from":{message},"subject":"Another"}`, ofTheDesk201},
	{"POST", "/tickets/{closed}/followup", `{"body":"again"}`, [5]int{401, 404, 201, 201, 201}},
	{"POST", "/tickets/{solved}/rate", `{"score":5}`, [5]int{401, 404, 200, 403, 403}},
	{"GET", "/tickets/{ticket}/history", "", ofTheDesk},
	{"GET", "/tickets/{ticket}/clocks", "", ofTheDesk},
	{"GET", "/tickets/{ticket}/why", "", ofTheDesk},
	{"GET", "/tickets/{ticket}/place", "", ofOneTicket},
	{"GET", "/tickets/{ticket}/links", "", ofTheDesk},
	{"PUT", "/tickets/{ticket}/links/{other}", `{"kind":"blocks"}`, ofTheDesk204},
	{"DELETE", "/tickets/{ticket}/links/{other}", "", ofTheDesk204},
	{"GET", "/tickets/{ticket}/watchers", "", ofTheDesk},
	{"PUT", "/tickets/{ticket}/watchers/me", "", ofTheDesk204},
	{"DELETE", "/tickets/{ticket}/watchers/me", "", ofTheDesk204},
	{"POST", "/tickets/{ticket}/attend", `{"mode":"viewing"}`, ofTheDesk},
	{"POST", "/tickets/{ticket}/macros/{macro}", "", ofTheDesk},
	{"POST", "/tickets/bulk", `{"ids":[{ticket}],"actions":[{"do":"take"}]}`, deskReads},

	{"POST", "/tickets/{ticket}/links", `{"other_id":{other}}`, ofTheDesk},
	{"POST", "/tickets/{ticket}/fields", `{"field_none":"1"}`, ofTheDesk},
	{"GET", "/inbox", "", deskReads},
	{"GET", "/support", "", [5]int{200, 200, 200, 200, 200}},
	{"POST", "/support", `{"text":"help"}`, [5]int{201, 201, 201, 201, 201}},
	{"POST", "/support/email", `{"email":"a@b.example"}`, [5]int{401, 403, 403, 403, 403}}, // guests only
	{"POST", "/support/leave", "", [5]int{401, 403, 403, 403, 403}},

	{"GET", "/views", "", deskReads},
	{"POST", "/views", `{"name":"Mine","filter":{"mine":true}}`, deskMakes},
	{"PUT", "/views/{view}", `{"name":"All","shared":true}`, adminChanges},
	{"DELETE", "/views/{view}", "", [5]int{401, 403, 403, 404, 204}},
	{"GET", "/macros", "", deskReads},
	{"POST", "/macros", `{"name":"Hello","text":"Hello"}`, deskMakes},
	{"PUT", "/macros/{macro}", `{"name":"Hello","text":"Hello","shared":true}`, adminChanges},
	{"DELETE", "/macros/{macro}", "", [5]int{401, 403, 403, 404, 204}},
	{"GET", "/ticket-fields", "", deskReads},
	{"POST", "/ticket-fields", `{"key":"hull","name":"Hull","type":"text"}`, adminMakes},
	{"PUT", "/ticket-fields/hull", `{"name":"Hull","type":"text"}`, adminChanges},
	{"DELETE", "/ticket-fields/{field}", "", adminDrops},

	{"GET", "/agents", "", deskReads},
	{"PUT", "/agents/{user}", `{"capacity":50}`, adminChanges},
	{"GET", "/agents/me/status", "", [5]int{401, 403, 403, 200, 404}}, // the administrator is no agent
	{"PUT", "/agents/me/status", `{"status":"online"}`, [5]int{401, 403, 403, 200, 404}},
	{"GET", "/offers", "", deskReads},
	{"POST", "/offers/{offer}/accept", "", [5]int{401, 403, 403, 200, 404}}, // nor is the offer theirs
	{"POST", "/offers/{offer}/decline", "", [5]int{401, 403, 403, 200, 404}},
	{"GET", "/board", "", deskReads},

	{"GET", "/queues", "", deskReads},
	{"POST", "/queues", `{"name":"{name}"}`, adminMakes},
	{"PUT", "/queues/{queue}", `{"name":"{name}"}`, adminChanges},
	{"DELETE", "/queues/{queue}", "", adminDrops},
	{"GET", "/skills", "", deskReads},
	{"POST", "/skills", `{"name":"{name}"}`, adminMakes},
	{"PUT", "/skills/{skill}", `{"name":"{name}"}`, adminChanges},
	{"DELETE", "/skills/{skill}", "", adminDrops},
	{"GET", "/sla-policies", "", deskReads},
	{"POST", "/sla-policies", `{"name":"{name}"}`, adminMakes},
	{"PUT", "/sla-policies/{policy}", `{"name":"{name}"}`, adminChanges},
	{"DELETE", "/sla-policies/{policy}", "", adminDrops},
	{"GET", "/calendars", "", deskReads},
	{"POST", "/calendars", `{"name":"{name}","zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`, adminMakes},
	{"PUT", "/calendars/{calendar}", `{"name":"{name}","zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`, adminChanges},
	{"DELETE", "/calendars/{calendar}", "", adminDrops},

	{"GET", "/admin/keys", "", [5]int{401, 403, 403, 403, 200}},
	{"POST", "/admin/keys", `{"name":"{name}","handle":"bot","scopes":["chat.read"]}`, adminMakes},
	{"DELETE", "/admin/keys/{apikey}", "", adminDrops},
}

// deskMaker makes what the marks of a call stand for.
type deskMaker struct {
	*deskWorld
	n    int
	ring int64 // a queue in which the staff is offered what comes
}

func (m *deskMaker) name(what string) string {
	m.n++
	return fmt.Sprintf("%s %d", what, m.n)
}

// made makes something with chat.admin, and returns its id.
func (m *deskMaker) made(path, body string) string {
	m.t.Helper()
	return fmt.Sprint(m.must(201, "POST", path, m.admin(), fmt.Sprintf(body, m.name(path))).id(m.t))
}

// asked makes a ticket, and returns its number.
func (m *deskMaker) asked(more ...string) string {
	m.t.Helper()
	return strings.TrimPrefix(m.ticket(m.name("Ticket"), more...), "/tickets/")
}

// moved makes a ticket, and a move with it.
func (m *deskMaker) moved(move string) string {
	m.t.Helper()
	id := m.asked()
	m.must(200, "POST", "/tickets/"+id+"/transition", m.staff(), `{"move":"`+move+`"}`)
	return id
}

// offer makes a ticket in the queue that rings, and returns its offer's number.
func (m *deskMaker) offer() string {
	m.t.Helper()
	ticket, found := m.asked(fmt.Sprintf(`,"queue":%d`, m.ring)), ""
	m.until("an offer of ticket "+ticket, func() bool {
		var v struct {
			Offers []struct {
				ID     int64
				Ticket int64 `json:"ticket_id"`
			}
		}
		m.do("GET", "/offers", m.staff(), "").json(m.t.(*testing.T), &v)
		for _, o := range v.Offers {
			if fmt.Sprint(o.Ticket) == ticket {
				found = fmt.Sprint(o.ID)
			}
		}
		return found != ""
	})
	return found
}

// spoken makes a ticket in which something was said, and returns its number and that
// of the message.
func (m *deskMaker) spoken() (ticket, message string) {
	m.t.Helper()
	ticket = m.asked(`,"body":"hello"`)
	m.until("a message of ticket "+ticket, func() bool {
		tk := ticketIn(m.t.(*testing.T), m.do("GET", "/tickets/"+ticket, m.staff(), ""))
		message = tk.LastMsgSeq.String()
		return tk.LastMsgSeq > 0
	})
	return ticket, message
}

// fill replaces a call's marks by what it makes for them.
func (m *deskMaker) fill(c deskCall) (path, body string) {
	m.t.Helper()
	const named = `{"name":%q,"shared":true}`
	pairs := []string{"{name}", m.name("Name")}
	mark := func(mark string, fn func() string) {
		if strings.Contains(c.path+c.body, mark) {
			pairs = append(pairs, mark, fn())
		}
	}
	mark("{ticket}", func() string { return m.asked() })
	mark("{other}", func() string { return m.asked() })
	mark("{closed}", func() string { return m.moved("spam") })
	mark("{solved}", func() string { return m.moved("solve") })
	mark("{offer}", m.offer)
	mark("{queue}", func() string { return m.made("/queues", named) })
	mark("{skill}", func() string { return m.made("/skills", named) })
	mark("{policy}", func() string { return m.made("/sla-policies", named) })
	mark("{view}", func() string { return m.made("/views", named) })
	mark("{macro}", func() string { return m.made("/macros", `{"name":%q,"shared":true,"text":"Hello"}`) })
	mark("{calendar}", func() string {
		return m.made("/calendars", `{"name":%q,"zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`)
	})
	mark("{apikey}", func() string { return m.made("/admin/keys", `{"name":%q,"handle":"bot","scopes":["chat.read"]}`) })
	mark("{user}", func() string { return fmt.Sprint(m.user(strings.ReplaceAll(m.name("user"), " ", ""))) })
	mark("{field}", func() string {
		key := strings.ReplaceAll(m.name("field"), " ", "_")
		m.must(201, "POST", "/ticket-fields", m.admin(), `{"key":"`+key+`","name":"Field","type":"text"}`)
		return key
	})
	if strings.Contains(c.path, "{spoken}") {
		ticket, message := m.spoken()
		pairs = append(pairs, "{spoken}", ticket, "{message}", message)
	}
	fill := strings.NewReplacer(pairs...)
	return fill.Replace(c.path), fill.Replace(c.body)
}

// TestDesk_EveryRoute asks every call for everybody: whose it is not learns nothing,
// and what is the desk's or an administrator's is theirs alone.
func TestDesk_EveryRoute(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	m, api := &deskMaker{deskWorld: d}, readAPI(t)
	id := d.user(agent)
	m.ring = d.must(201, "POST", "/queues", d.admin(), `{"name":"Ring","offer_seconds":600}`).id(t)
	d.must(200, "PUT", fmt.Sprintf("/agents/%d", id), d.admin(), fmt.Sprintf(`{"capacity":10000,"places":[{"queue_id":%d,"tier":1}]}`, m.ring))
	d.must(200, "PUT", "/agents/me/status", d.staff(), `{"status":"online"}`)
	who := []struct {
		name   string
		header http.Header
	}{{"nobody", nil}, {"a stranger", d.as(bob)}, {"the requester", d.as(ann)}, {"the staff", d.staff()}, {"an administrator", d.admin()}}
	for _, c := range deskCalls {
		for i, w := range who {
			path, body := m.fill(c)
			a := d.do(c.method, path, w.header, body)
			if a.status != c.want[i] {
				t.Errorf("%s: %s %s %s: %d %s, want %d", w.name, c.method, path, body, a.status, a.body, c.want[i])
			}
			if a.status < 300 && !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				api.conforms(t, c.method, path, a)
			}
			if strings.Contains(a.body, "null") {
				t.Errorf("%s: %s %s: null in %s", w.name, c.method, path, a.body)
			}
			checkHeaders(t, a)
		}
	}
}
