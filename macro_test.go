package vezechat_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

func TestTicketField_Check(t *testing.T) {
	t.Parallel()
	values := []string{`"x"`, `""`, `1`, `-1.5e3`, `true`, `"2026-02-28"`, `"2026-02-30"`, `"eu"`, `null`, `[]`, `{}`, `x`, `"` + strings.Repeat("ö", vezechat.MaxFieldText+1) + `"`}
	for kind, want := range map[vezechat.FieldType]string{
		vezechat.FieldText:   `"x" "" "2026-02-28" "2026-02-30" "eu" null`,
		vezechat.FieldNumber: `1 -1.5e3 null`,
		vezechat.FieldBool:   `true null`,
		vezechat.FieldDate:   `"2026-02-28" null`,
		vezechat.FieldChoice: `"eu" null`,
	} {
		f := vezechat.TicketField{Key: "k", Name: "K", Type: kind}
		if kind == vezechat.FieldChoice {
			f.Options = []string{"eu", "us"}
		}
		if err := f.Validate(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		var got []string
		for _, v := range values {
			switch err := f.Check(vezechat.CustomJSON(v)); vezechat.CodeOf(err) {
			case "":
				got = append(got, v)
			case vezechat.CodeBadRequest:
			default:
				t.Errorf("%s %s: %v", kind, v, err)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s takes %s, want %s", kind, text, want)
		}
	}
}

func TestTicketField_Validate(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]vezechat.TicketField{
		"no key":          {Name: "x", Type: vezechat.FieldText},
		"an odd key":      {Key: "a b", Name: "x", Type: vezechat.FieldText},
		"a long key":      {Key: strings.Repeat("a", 41), Name: "x", Type: vezechat.FieldText},
		"no name":         {Key: "a", Type: vezechat.FieldText},
		"no type":         {Key: "a", Name: "x"},
		"options of text": {Key: "a", Name: "x", Type: vezechat.FieldText, Options: []string{"a"}},
		"no options":      {Key: "a", Name: "x", Type: vezechat.FieldChoice},
		"one twice":       {Key: "a", Name: "x", Type: vezechat.FieldChoice, Options: []string{"a", "a"}},
		"an empty one":    {Key: "a", Name: "x", Type: vezechat.FieldChoice, Options: []string{""}},
	} {
		if err := f.Validate(); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is filled in is not filled in again.
func TestFillIn(t *testing.T) {
	t.Parallel()
	tk := vezechat.Ticket{ID: 7, Subject: "{{agent.handle}} {{ticket.id}}", RequesterHandle: "@ann"}
	got := vezechat.FillIn("{{requester.handle}} {{agent.handle}} {{ticket.id}} {{ticket.subject}} {{nothing}} {{", &tk, "@bo")
	if want := "@ann @bo 7 {{agent.handle}} {{ticket.id}} {{nothing}} {{"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A placeholder that nothing is put in for is refused, with those that there are.
func TestMacro_Placeholders(t *testing.T) {
	t.Parallel()
	for text, bad := range map[string]string{
		"Hi {{requester.handle}}, {{agent.handle}}: {{ticket.id}} {{ticket.subject}}": "",
		"{ and } and {}, {{ and }":      "",
		"{{ and }}":                     "{{ and }}",
		"Hi {{requester.nope}}":         "{{requester.nope}}",
		"{{ticket.id}} {{ ticket.id }}": "{{ ticket.id }}",
		"{{}}":                          "{{}}",
	} {
		m := vezechat.Macro{Name: "m", Text: text}
		err := m.Validate()
		if bad == "" && err != nil || bad != "" && (vezechat.CodeOf(err) != vezechat.CodeBadRequest || !strings.Contains(err.Error(), "unknown placeholder "+bad+": want {{requester.handle}}, ")) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTicketAction_Validate(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]vezechat.TicketAction{
		"none": {}, "a move of the hub": {Do: vezechat.DoMove, Move: vezechat.MoveWake}, "merging": {Do: vezechat.DoMove, Move: vezechat.MoveMerge},
		"priority": {Do: vezechat.DoPriority, Priority: "huge"}, "tag": {Do: vezechat.DoTag, Tag: "a b"}, "no tag": {Do: vezechat.DoUntag},
		"field": {Do: vezechat.DoField, Key: "a", Value: vezechat.CustomJSON(`{`)}, "queue": {Do: vezechat.DoQueue, Queue: -1}, "user": {Do: vezechat.DoAssign, User: -1},
	} {
		if err := a.Validate(); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := make([]vezechat.TicketAction, vezechat.MaxActions+1)
	for i := range many {
		many[i].Do = vezechat.DoTake
	}
	if err := vezechat.CheckActions(many); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Errorf("too many: %v", err)
	}
	if err := vezechat.CheckActions(many[1:]); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
}

// An action that gives a ticket to nobody says so, and is read back as what it was.
func TestTicketAction_SaysNobody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a    vezechat.TicketAction
		want string
	}{
		{vezechat.TicketAction{Do: vezechat.DoAssign}, `{"do":"assign","user_id":0}`},
		{vezechat.TicketAction{Do: vezechat.DoAssign, User: 7}, `{"do":"assign","user_id":7}`},
		{vezechat.TicketAction{Do: vezechat.DoQueue}, `{"do":"queue","queue_id":0}`},
		{vezechat.TicketAction{Do: vezechat.DoTake}, `{"do":"take"}`},
		{vezechat.TicketAction{Do: vezechat.DoField, Key: "ship", Value: vezechat.CustomJSON(`"x"`)}, `{"do":"field","key":"ship","value":"x"}`},
	} {
		b, err := json.Marshal(tt.a)
		if err != nil || string(b) != tt.want {
			t.Errorf("%s %v, want %s", b, err, tt.want)
		}
		var back vezechat.TicketAction
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, tt.a) {
			t.Errorf("%s: %+v %v", b, back, err)
		}
	}
}

// Who sees a ticket's room, and what they may do there.
func TestAccess_RoomsOfTickets(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	scopes := func(more ...vezechat.Scope) vezechat.Scopes {
		return append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}, more...)
	}
	acts := []vezechat.Action{vezechat.ActionSee, vezechat.ActionPost, vezechat.ActionAmend, vezechat.ActionModify, vezechat.ActionArchive, vezechat.ActionInvite, vezechat.ActionRemove, vezechat.ActionAppoint, vezechat.ActionHook}
	for _, tt := range []struct {
		name   string
		scopes vezechat.Scopes
		role   vezechat.Role
		locked bool
		want   string
	}{
		{"requester", scopes(), vezechat.RoleMember, false, "see post"},
		{"requester, locked", scopes(), vezechat.RoleMember, true, "see"},
		{"stranger", scopes(), vezechat.RoleNone, false, ""},
		{"moderator of the hub", scopes(vezechat.ScopeChatModerate), vezechat.RoleNone, false, ""},
		{"staff", scopes(vezechat.ScopeTicketManage), vezechat.RoleNone, false, "see post amend"},
		{"staff, locked", scopes(vezechat.ScopeTicketManage), vezechat.RoleNone, true, "see post amend"},
		{"staff who may not read", vezechat.Scopes{vezechat.ScopeTicketManage}, vezechat.RoleNone, false, ""},
		{"administrator", scopes(vezechat.ScopeChatAdmin), vezechat.RoleNone, false, "see post amend"},
	} {
		c := vezechat.Caller{UserID: 1, Scopes: tt.scopes}
		a := vezechat.Access{Room: vezechat.Room{ID: 2, Kind: vezechat.KindSupport, Locked: tt.locked}, UserID: 1, Role: tt.role}
		var got []string
		for _, act := range acts {
			if a.May(c, act, now) == nil {
				got = append(got, string(act))
			}
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s may %q, want %q", tt.name, text, tt.want)
		}
	}
}
