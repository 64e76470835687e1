package vezechat_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// full is an event of a type in which every field has a value.
func full(t *testing.T, of vezechat.EventType) vezechat.Event {
	t.Helper()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	e := vezechat.Event{
		Type: of, RoomID: 1, TicketID: 2, MessageID: 3, UserID: 4, Handle: "@a", Text: "text", Nonce: "n", ReplyTo: 5, Emoji: "🚀", By: 6,
		Reason: "why", Role: vezechat.RoleMember, Until: &at, Name: "name", Kind: vezechat.KindSupport, SlowMode: new(1), Locked: new(true), Public: new(true), Blocked: new(true), Flags: []string{"staff"},
		Subject: "help", CreatedBy: 7, RequesterID: 8, AssigneeID: 9, QueueID: 10, Status: string(vezechat.StatusOnHold), Priority: vezechat.PriorityHigh,
		Tags: []string{"vip"}, Live: true, Notes: true, Version: 11, MergedInto: 12, FollowUpOf: 13, OfferID: 14, ExpiresAt: &at,
		Metric: vezechat.MetricFirstReply, Percent: 50, DueAt: &at, At: at, Trace: &vezechat.Trace{Traceparent: "00-1"}, Seq: 15, Prev: 16,
	}
	for i, v := 0, reflect.ValueOf(e); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Fatalf("%s has no value: this test does not see whether it is shown", v.Type().Field(i).Name)
		}
	}
	return e
}

// Whatever an event has, a requester is shown these fields of these types.
func TestEvent_ForRequester(t *testing.T) {
	t.Parallel()
	ticket := []string{
		"Type", "TicketID", "Subject", "CreatedBy", "RequesterID", "AssigneeID", "QueueID", "Status", "Priority", "Live", "Version",
		"MergedInto", "FollowUpOf", "At", "Seq", "Prev",
	}
	comment := append(slices.Clone(ticket), "RoomID", "MessageID", "UserID", "Handle", "Flags")
	shown := map[vezechat.EventType][]string{
		vezechat.EventTicketCreated: ticket, vezechat.EventTicketAssigned: ticket, vezechat.EventTicketUnassigned: ticket,
		vezechat.EventTicketUpdated: ticket, vezechat.EventTicketCommented: comment, vezechat.EventTicketSolved: ticket,
		vezechat.EventTicketReopened: ticket, vezechat.EventTicketClosed: ticket, vezechat.EventTicketMerged: ticket,
	}
	for _, of := range eventTypes(t) {
		t.Run(string(of), func(t *testing.T) {
			t.Parallel()
			e := full(t, of)
			e.Notes = false
			seen, ok := e.ForRequester()
			if want, known := shown[of]; ok != known {
				t.Fatalf("shown %v, want %v", ok, known)
			} else if got := fields(seen); !slices.Equal(got, sorted(want)) {
				t.Errorf("shown %v\nwant  %v", got, sorted(want))
			}
			if ok && seen.Status != string(vezechat.StatusOpen) {
				t.Errorf("on hold looks like %s", seen.Status)
			}
			if ok {
				if _, err := vezechat.ParseEvent(vezechat.AppendEvent(nil, &seen)); err != nil {
					t.Errorf("what is shown is no event: %v", err)
				}
			}
			if e.Notes = true; of == vezechat.EventTicketCommented {
				if seen, ok := e.ForRequester(); ok || !reflect.ValueOf(seen).IsZero() {
					t.Errorf("a note is shown: %v", seen)
				}
			}
		})
	}
}

func TestEvent_ForRequesterOfEachStatus(t *testing.T) {
	t.Parallel()
	for _, s := range []vezechat.Status{
		vezechat.StatusNew, vezechat.StatusOpen, vezechat.StatusPending, vezechat.StatusOnHold, vezechat.StatusSolved, vezechat.StatusClosed,
	} {
		want := s
		if s == vezechat.StatusOnHold {
			want = vezechat.StatusOpen
		}
		seen, ok := vezechat.Event{Type: vezechat.EventTicketUpdated, Status: string(s)}.ForRequester()
		if !ok || seen.Status != string(want) {
			t.Errorf("%s looks like %q", s, seen.Status)
		}
	}
}

// fields are the names of an event's fields that have a value, sorted.
func fields(e vezechat.Event) (names []string) {
	for i, v := 0, reflect.ValueOf(e); i < v.NumField(); i++ {
		if !v.Field(i).IsZero() {
			names = append(names, v.Type().Field(i).Name)
		}
	}
	return sorted(names)
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// eventTypes are all that the source names.
func eventTypes(t *testing.T) (all []vezechat.EventType) {
	t.Helper()
	for _, s := range firsts(`EventType\s+= "([a-z_.]+)"`, read(t, "eventtype.go")) {
		all = append(all, vezechat.EventType(s))
	}
	if len(all) < 30 {
		t.Fatalf("%d types of events: this test looks in the wrong place", len(all))
	}
	return all
}
