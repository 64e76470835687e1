package vezechat_test

import (
	"encoding/json"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// What each event of the desk needs; without any of it, it is refused.
func TestParseEvent_Desk(t *testing.T) {
	t.Parallel()
	const ticket = `"ticket_id":5,"requester_id":1,"version":2,`
	for kind, needs := range map[vezechat.EventType]string{
		vezechat.EventTicketCreated:    ticket + `"subject":"Lost","created_by":1`,
		vezechat.EventTicketAssigned:   ticket + `"assignee_id":4`,
		vezechat.EventTicketUnassigned: ticket[:len(ticket)-1],
		vezechat.EventTicketUpdated:    ticket[:len(ticket)-1],
		vezechat.EventTicketCommented:  ticket + `"room_id":8,"message_id":442,"user_id":1`,
		vezechat.EventTicketSolved:     ticket[:len(ticket)-1],
		vezechat.EventTicketReopened:   ticket[:len(ticket)-1],
		vezechat.EventTicketClosed:     ticket[:len(ticket)-1],
		vezechat.EventTicketMerged:     ticket + `"merged_into":3`,
		vezechat.EventOfferMade:        ticket + `"offer_id":9,"user_id":4`,
		vezechat.EventOfferAccepted:    ticket + `"offer_id":9,"user_id":4`,
		vezechat.EventOfferDeclined:    ticket + `"offer_id":9,"user_id":4`,
		vezechat.EventOfferExpired:     ticket + `"offer_id":9,"user_id":4`,
		vezechat.EventClockWarned:      ticket + `"metric":"pickup"`,
		vezechat.EventClockBreached:    ticket + `"metric":"resolution"`,
		vezechat.EventClockMet:         ticket + `"metric":"next_reply"`,
		vezechat.EventAgentStatus:      `"user_id":4,"status":"away"`,
	} {
		var whole map[string]any
		if err := json.Unmarshal([]byte(`{"type":"`+string(kind)+`","at":"2026-11-23T12:00:00Z",`+needs+`}`), &whole); err != nil {
			t.Fatal(err)
		}
		if _, err := vezechat.ParseEvent(asJSON(t, whole)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for field := range whole {
			without := map[string]any{}
			for k, v := range whole {
				if k != field {
					without[k] = v
				}
			}
			if _, err := vezechat.ParseEvent(asJSON(t, without)); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
				t.Errorf("%s without %s: %v", kind, field, err)
			}
		}
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every field of an event that encoding/json knows, AppendEvent writes.
func TestAppendEvent_WritesEveryField(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	seconds, yes := 5, true
	e := vezechat.Event{
		Type: vezechat.EventTicketUpdated, RoomID: 1, TicketID: 2, MessageID: 3, UserID: 4, Handle: "@a", Text: "t", Nonce: "n", ReplyTo: 5, Emoji: "e", By: 6,
		Reason: "r", Role: vezechat.RoleOwner, Until: &at, Name: "n", Kind: vezechat.KindSupport, SlowMode: &seconds, Locked: &yes, Public: &yes, Blocked: &yes, Flags: []string{"staff"},
		Subject: "s", CreatedBy: 7, RequesterID: 8, AssigneeID: 9, QueueID: 10, Status: "open", Priority: vezechat.PriorityHigh, Tags: []string{"x", "y"},
		Live: true, Notes: true, Version: 11, MergedInto: 12, FollowUpOf: 13, OfferID: 14, ExpiresAt: &at, Metric: vezechat.MetricPickup, Percent: 50, DueAt: &at,
		At: at, Trace: &vezechat.Trace{Traceparent: "00-x"},
	}
	var ours, theirs map[string]any
	if err := json.Unmarshal(vezechat.AppendEvent(nil, &e), &ours); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(asJSON(t, e), &theirs); err != nil {
		t.Fatal(err)
	}
	for k := range theirs {
		if _, ok := ours[k]; !ok {
			t.Errorf("%s is not written", k)
		}
	}
	if len(theirs) != len(ours) || len(theirs) < 38 {
		t.Errorf("%d fields, encoding/json writes %d", len(ours), len(theirs))
	}
	back, err := vezechat.ParseEvent(vezechat.AppendEvent(nil, &e))
	if err != nil || string(vezechat.AppendEvent(nil, &back)) != string(vezechat.AppendEvent(nil, &e)) {
		t.Errorf("came back as %+v, %v", back, err)
	}
}

func TestSubjectOf(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]vezechat.Event{
		vezechat.RoomSubject(17):  {Type: vezechat.EventMessageCreated, RoomID: 17, TicketID: 5, UserID: 4},
		vezechat.TicketSubject(5): {Type: vezechat.EventTicketCommented, RoomID: 17, TicketID: 5, UserID: 4},
		vezechat.AgentSubject(4):  {Type: vezechat.EventAgentStatus, RoomID: 17, TicketID: 5, UserID: 4},
	} {
		if got := vezechat.SubjectOf(&e); got != want {
			t.Errorf("%s of %s, want %s", got, e.Type, want)
		}
	}
	for subject, want := range map[string]string{
		vezechat.RoomSubject(17): "veze.dlq.store.17", vezechat.TicketSubject(5): "veze.dlq.store.ticket.5",
		vezechat.AgentSubject(4): "veze.dlq.store.agent.4", "veze.ticket.x": "veze.dlq.store.0", "*.>": "veze.dlq.store.0",
	} {
		if got := vezechat.DLQSubject("store", subject); got != want {
			t.Errorf("dead letters of %q are under %q, want %q", subject, got, want)
		}
	}
}
