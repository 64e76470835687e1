package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// calls is somebody who must get what they ask for.
type calls struct {
	client.REST
	t *testing.T
}

func (h *hub) desk(t *testing.T, handle, scopes string) calls {
	t.Helper()
	return calls{client.REST{URL: h.url, Token: h.token(t, handle, "chat.read chat.write "+scopes)}, t}
}

func (c calls) must(method, path string, in, out any) {
	c.t.Helper()
	if err := c.Do(c.t.Context(), method, path, in, out); err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// refused wants an error of a code.
func (c calls) refused(code vezechat.Code, method, path string, in any) {
	c.t.Helper()
	if err := c.Do(c.t.Context(), method, path, in, nil); vezechat.CodeOf(err) != code {
		c.t.Errorf("%s %s: %v, want %s", method, path, err, code)
	}
}

type object = map[string]any

// made makes something and returns its number.
func (c calls) made(path string, in object) int64 {
	c.t.Helper()
	var out struct {
		ID int64 `json:"id"`
	}
	c.must("POST", path, in, &out)
	return out.ID
}

// setUp makes a queue with all that a desk runs by, and an agent in it.
func setUp(t *testing.T, h *hub, agent string) (queue string, skill int64) {
	t.Helper()
	root := h.desk(t, "root", "chat.admin")
	var hours []object
	for _, day := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		hours = append(hours, object{"day": day, "open": "00:00", "close": "24:00"})
	}
	calendar := root.made("/calendars", object{"name": fresh("Always "), "zone": "Europe/Berlin", "hours": hours})
	policy := root.made("/sla-policies", object{"name": fresh("Gold "), "targets": []object{
		{"metric": "first_reply", "priority": "normal", "seconds": 3600}, {"metric": "resolution", "priority": "normal", "seconds": 86400},
	}})
	skill = root.made("/skills", object{"name": fresh("Ships ")})
	queue = fresh("Docking ")
	id := root.made("/queues", object{"name": queue, "calendar_id": calendar, "policy_id": policy, "offer_seconds": 300})
	root.must("PUT", fmt.Sprintf("/agents/%d", userID(t, h, agent)), object{
		"capacity": 100, "skills": []object{{"skill_id": skill, "level": 4}}, "places": []object{{"queue_id": id, "tier": 1}},
	}, nil)
	return queue, skill
}

// A desk is set up; somebody asks, an agent is offered it, answers, solves it and is
// rated; all of it is in the history. Who is neither sees none of it.
func TestDesk_FromAskingToRating(t *testing.T) {
	t.Parallel()
	h := shared(t)
	sam, ann := fresh("sam"), fresh("ann")
	queue, skill := setUp(t, h, sam)
	staff, hers := h.desk(t, sam, "ticket.manage"), h.desk(t, ann, "")
	staff.must("PUT", "/agents/me/status", object{"status": "online"}, nil)
	var tk vezechat.Ticket
	hers.must("POST", "/tickets", object{
		"subject": "My ship is gone", "body": "It was docked at Nova. " + secret, "queue": strings.ToUpper(queue),
		"skills": []object{{"skill_id": skill, "level": 3}}, "nonce": "n1",
	}, &tk)
	at := "/tickets/" + tk.ID.String()

	var offers struct{ Offers []vezechat.Offer }
	eventually(t, "the agent is offered it", func() bool {
		staff.must("GET", "/offers", nil, &offers)
		return len(offers.Offers) == 1
	})
	staff.must("POST", fmt.Sprintf("/offers/%d/accept", offers.Offers[0].ID), nil, nil)
	eventually(t, "what was said first is heard", func() bool {
		staff.must("GET", at, nil, &tk)
		return tk.LastMsgSeq > 0
	})
	staff.must("POST", at+"/comments", object{"text": "It is in dock 7.", "last_msg_seq": tk.LastMsgSeq}, nil)
	staff.must("POST", at+"/notes", object{"text": "The tractor beam slipped again."}, nil)
	hers.refused(vezechat.CodeForbidden, "GET", at+"/notes", nil)
	stranger := h.desk(t, fresh("eve"), "")
	stranger.refused(vezechat.CodeNotFound, "GET", at, nil)
	stranger.refused(vezechat.CodeNotFound, "POST", at+"/comments", object{"text": "me too"})

	var clocks struct{ Clocks []vezechat.Clock }
	eventually(t, "the first reply is on time", func() bool {
		staff.must("GET", at+"/clocks", nil, &clocks)
		i := slices.IndexFunc(clocks.Clocks, func(c vezechat.Clock) bool { return c.Metric == vezechat.MetricFirstReply })
		return i >= 0 && clocks.Clocks[i].State == vezechat.ClockMet && clocks.Clocks[i].BreachedAt.IsZero()
	})
	hers.refused(vezechat.CodeConflict, "POST", at+"/rate", object{"score": 5})
	staff.must("POST", at+"/transition", object{"move": "solve", "why": "found"}, nil)
	staff.refused(vezechat.CodeBadTransition, "POST", at+"/transition", object{"move": "hold"})
	hers.must("POST", at+"/rate", object{"score": 5, "comment": "quick"}, nil)

	var said vezechat.MessagePage
	hers.must("GET", at+"/comments", nil, &said)
	if len(said.Messages) != 2 || said.Messages[1].Text != "It is in dock 7." {
		t.Errorf("the conversation: %+v", said.Messages)
	}
	var history struct{ History []vezechat.TicketChange }
	staff.must("GET", at+"/history", nil, &history)
	checkHistory(t, history.History, "@"+sam, "@"+ann)
}

// checkHistory wants what was done, by whom, in its order.
func checkHistory(t *testing.T, got []vezechat.TicketChange, agent, asker string) {
	t.Helper()
	want := []struct{ key, value, by string }{
		{"subject", `"My ship is gone"`, asker}, {"assignee_id", "", agent}, {"status", `"solved"`, agent}, {"score", "5", asker},
	}
	for _, c := range got {
		if len(want) == 0 {
			break
		}
		if v, ok := c.New[want[0].key]; ok && (want[0].value == "" || string(v) == want[0].value) && c.Handle == want[0].by {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Errorf("the history lacks %v: %+v", want, got)
	}
}

// A process that only routes says whether it does, and one that is everything says it
// of this part too.
func TestDesk_RoutingIsReady(t *testing.T) {
	t.Parallel()
	h := shared(t)
	f := h.file(t)
	r := own(t, hubOptions{args: []string{"--roles", "routing", "--nats-url", f.NatsURL, "--database-url", f.DatabaseURL}})
	eventually(t, "the router is ready", func() bool { return (client.REST{URL: r.url}).Do(t.Context(), "GET", "/readyz", nil, nil) == nil })
	var all struct {
		Status string
		Parts  []struct {
			Name         string
			OK, Optional bool
		}
	}
	eventually(t, "the hub says that it routes", func() bool {
		if err := (client.REST{URL: h.url}).Do(t.Context(), "GET", "/readyz", nil, &all); err != nil {
			t.Fatal(err)
		}
		for _, p := range all.Parts {
			if p.Name == "routing" {
				return p.OK && p.Optional
			}
		}
		return false
	})
}
