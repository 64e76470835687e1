package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"vezeuniqverse.com/vezechat"
)

// watcher is a socket that watches the desk.
type watcher struct {
	t    *testing.T
	conn *websocket.Conn
	left []object // what await passed over
}

func (h *hub) watcher(t *testing.T, handle, scopes string) *watcher {
	t.Helper()
	header := http.Header{"Authorization": {"Bearer " + h.token(t, handle, "chat.read chat.write "+scopes)}}
	return &watcher{t: t, conn: h.socket(t, header)}
}

// await returns the first frame of which ok holds; what it passes over is kept.
func (w *watcher) await(what string, ok func(object) bool) object {
	w.t.Helper()
	if i := slices.IndexFunc(w.left, ok); i >= 0 {
		f := w.left[i]
		w.left = slices.Delete(w.left, i, i+1)
		return f
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		var f object
		if err := w.conn.ReadJSON(&f); err != nil {
			w.t.Fatalf("%s: %v, after %v", what, err, w.left)
		}
		if ok(f) {
			return f
		}
		w.left = append(w.left, f)
	}
}

// ask sends a frame and wants ok.
func (w *watcher) ask(ref string, f object) object {
	w.t.Helper()
	f["ref"] = ref
	if err := w.conn.WriteJSON(f); err != nil {
		w.t.Fatal(err)
	}
	answer := w.await("the answer to "+ref, func(f object) bool { return f["ref"] == ref })
	if answer["type"] != "ok" {
		w.t.Fatalf("%s: %v", ref, answer)
	}
	return answer
}

// event waits for an event of a ticket.
func (w *watcher) event(of vezechat.EventType, id vezechat.TicketID) object {
	w.t.Helper()
	return w.await(string(of), func(f object) bool { return f["type"] == string(of) && f["ticket_id"] == float64(id) })
}

// An agent who is on duty by a socket is offered a chat on that socket and takes it.
// The edge with the socket is killed: nobody renews the session or ends it, it runs
// out, and the chat goes back to its queue. Who watches on another edge sees all of
// it, whether they were there or came back.
func TestDesk_OnDutyByASocketOfAnEdgeThatIsKilled(t *testing.T) {
	t.Parallel()
	h := shared(t)
	e := own(t, hubOptions{dir: h.dir, args: []string{"--roles", "edge", "--nats-url", h.file(t).NatsURL}})
	sam, ann, sup := fresh("sam"), fresh("ann"), fresh("sup")
	queue, _ := setUp(t, h, sam)
	staff, hers := h.desk(t, sam, "ticket.manage"), h.desk(t, ann, "")

	agent := e.watcher(t, sam, "ticket.manage")
	agent.ask("watch", object{"type": "watch", "topics": []string{"desk"}})
	agent.ask("duty", object{"type": "duty"})
	staff.must("PUT", "/agents/me/status", object{"status": "online"}, nil)
	super := h.watcher(t, sup, "ticket.manage")
	first := super.ask("watch", object{"type": "watch", "topics": []string{"desk"}})

	var tk vezechat.Ticket
	hers.must("POST", "/tickets", object{"subject": "Help", "channel": "chat", "queue": queue}, &tk)
	requester := h.watcher(t, ann, "")
	requester.ask("watch", object{"type": "watch", "ticket_id": tk.ID, "after": 0})
	offer := agent.event(vezechat.EventOfferMade, tk.ID)
	staff.must("POST", fmt.Sprintf("/offers/%.0f/accept", offer["offer_id"]), nil, nil)
	agent.event(vezechat.EventTicketAssigned, tk.ID)
	requester.event(vezechat.EventTicketAssigned, tk.ID)

	ofSam := fmt.Sprintf(`agent_id = %d`, userID(t, h, sam))
	session := h.query(t, `SELECT expires_at FROM agent_sessions WHERE node <> 'status' AND expires_at > now() AND `+ofSam)
	if session == "" || strings.Contains(session, "\n") {
		t.Fatalf("sessions on duty: %q, want one", session)
	}
	e.kill()
	// Time passes for the agent's sessions: a living edge would renew its own.
	h.query(t, `UPDATE agent_sessions SET expires_at = now() - interval '2 minutes' WHERE `+ofSam)
	gone := super.event(vezechat.EventTicketUnassigned, tk.ID)
	requester.event(vezechat.EventTicketUnassigned, tk.ID)
	if n := h.query(t, `SELECT count(*) FROM agent_sessions WHERE expires_at > now() AND `+ofSam); n != "0" {
		t.Errorf("%s sessions are believed of an agent whose edge is gone", n)
	}
	for _, f := range requester.left {
		if kind, _ := f["type"].(string); strings.HasPrefix(kind, "ticket.offer") || f["reason"] != nil || f["tags"] != nil {
			t.Errorf("who asked was shown %v", f)
		}
	}

	back := h.watcher(t, sup, "ticket.manage")
	back.ask("watch", object{"type": "watch", "topics": []string{"desk"}, "after": first["head"]})
	for _, of := range []vezechat.EventType{
		vezechat.EventTicketCreated, vezechat.EventOfferMade, vezechat.EventOfferAccepted, vezechat.EventTicketAssigned,
	} {
		if live, again := super.event(of, tk.ID), back.event(of, tk.ID); live["seq"] != again["seq"] {
			t.Errorf("%s was shown live at %v, and at %v to who came back", of, live["seq"], again["seq"])
		}
	}
	if again := back.event(vezechat.EventTicketUnassigned, tk.ID); gone["seq"] != again["seq"] {
		t.Errorf("it went back at %v, and at %v for who came back", gone["seq"], again["seq"])
	}
}
