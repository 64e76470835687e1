package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

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

// fill replaces a call's marks by what it makes for them; more are those of the caller's.
func (m *deskMaker) fill(call, body string, more ...string) (string, string) {
	m.t.Helper()
	const named = `{"name":%q}`
	pairs := append(more, "{name}", m.name("Name"))
	mark := func(mark string, fn func() string) {
		if strings.Contains(call+body, mark) {
			pairs = append(pairs, mark, fn())
		}
	}
	mark("{ticket}", func() string { return m.asked() })
	mark("{other}", func() string { return m.asked() })
	mark("{closed}", func() string {
		id := m.asked()
		m.must(200, "POST", "/tickets/"+id+"/merge", m.staff(), `{"into":`+m.asked()+`}`)
		return id
	})
	mark("{solved}", func() string { return m.moved("solve") })
	mark("{offer}", m.offer)
	mark("{queue}", func() string { return m.made("/queues", named) })
	mark("{skill}", func() string { return m.made("/skills", named) })
	mark("{policy}", func() string { return m.made("/sla-policies", named) })
	mark("{view}", func() string { return m.made("/views", `{"name":%q,"shared":true}`) })
	mark("{macro}", func() string { return m.made("/macros", `{"name":%q,"shared":true,"text":"Hello"}`) })
	mark("{calendar}", func() string {
		return m.made("/calendars", `{"name":%q,"zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`)
	})
	mark("{apikey}", func() string { return m.made("/admin/keys", `{"name":%q,"handle":"bot","scopes":["chat.read"]}`) })
	mark("{email}", m.email)
	mark("{unsubscribe}", func() string {
		id := vezechat.UserID(m.user(strings.ReplaceAll(m.name("user"), " ", "")))
		return "user=" + id.String() + "&kind=ticket&proof=" + emailSigner().Unsubscribe(id, vezechat.EmailTicket)
	})
	mark("{user}", func() string {
		id := fmt.Sprint(m.user(strings.ReplaceAll(m.name("user"), " ", "")))
		if call == "DELETE /agents/{user}" {
			m.must(200, "PUT", "/agents/"+id, m.admin(), `{}`)
		}
		return id
	})
	mark("{field}", func() string {
		key := strings.ReplaceAll(m.name("field"), " ", "_")
		m.must(201, "POST", "/ticket-fields", m.admin(), `{"key":"`+key+`","name":"Field","type":"text"}`)
		return key
	})
	if strings.Contains(call, "{filed}") {
		ticket, file := m.filed()
		pairs = append(pairs, "{filed}", ticket, "{file}", file)
	}
	if strings.Contains(call, "{spoken}") {
		ticket, message := m.spoken()
		pairs = append(pairs, "{spoken}", ticket, "{message}", message)
	}
	fill := strings.NewReplacer(pairs...)
	return fill.Replace(call), fill.Replace(body)
}
