package edge_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func decode(s string, into any) error { return json.Unmarshal([]byte(s), into) }

func ticketIn(t *testing.T, a answer) vezechat.Ticket {
	t.Helper()
	var v struct {
		vezechat.Ticket
		Inner *vezechat.Ticket `json:"ticket"`
	}
	a.json(t, &v)
	if v.Inner != nil {
		return *v.Inner
	}
	return v.Ticket
}

func TestDesk_TicketIsMadeWorkedOnAndDone(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	d.must(201, "POST", "/queues", d.admin(), `{"name":"Billing"}`)
	at := d.ticket("My ship is gone", `,"body":"Where is it?","queue":"billing","tags":["ship"]`)
	tk := ticketIn(t, d.must(200, "GET", at, staff, ""))
	if tk.Subject != "My ship is gone" || tk.Queue == 0 || tk.Status != vezechat.StatusNew {
		t.Errorf("%+v", tk)
	}
	d.until("the first message is heard", func() bool { tk = ticketIn(t, d.do("GET", at, staff, "")); return tk.LastMsgSeq > 0 })
	d.must(200, "PATCH", at, staff, fmt.Sprintf(`{"priority":"high","version":%d}`, tk.Version))
	d.must(200, "POST", at+"/assign", staff, `{"assignee_id":"me"}`)
	d.must(201, "POST", at+"/comments", staff, `{"text":"Found it"}`)
	d.must(201, "POST", at+"/notes", staff, `{"text":"It was stolen"}`)
	got := ticketIn(t, d.must(200, "POST", at+"/transition", staff, `{"move":"solve"}`))
	if got.Status != vezechat.StatusSolved {
		t.Errorf("%+v", got)
	}
	d.must(200, "POST", at+"/rate", d.as(ann), `{"score":5}`)
	d.must(409, "POST", at+"/transition", staff, `{"move":"hold"}`)
}

// The hub tells other services of every event that it has.
func TestDesk_ServiceNamesEveryEvent(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("../eventtype.go")
	must(t, err)
	var s struct{ Events []string }
	newWorld(t).do("GET", "/.veze/service.json", nil, "").json(t, &s)
	all := regexp.MustCompile(`EventType = "([a-z.]+)"`).FindAllStringSubmatch(string(src), -1)
	if len(all) < 30 || len(s.Events) != len(all) {
		t.Errorf("%d events are told of, there are %d", len(s.Events), len(all))
	}
	for _, m := range all {
		if !slices.Contains(s.Events, m[1]) {
			t.Errorf("%s is not told of", m[1])
		}
	}
}
