package vezechat_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func usableRules() vezechat.GuardRules {
	return vezechat.GuardRules{
		Lists: []vezechat.WordList{{
			Name: "insults", Language: "en", Label: "insult", Severity: vezechat.SeverityStrong,
			Kinds: []vezechat.RoomKind{vezechat.KindGlobal}, Words: []string{"weasel", "*rat*", "fox face"},
		}},
		Allow: []string{"ratio"},
		Rooms: map[vezechat.RoomKind]vezechat.RoomVerdicts{vezechat.KindGlobal: {Strong: vezechat.VerdictBlock, Spam: vezechat.VerdictHold}},
		Spam:  vezechat.SpamLimits{Window: 10, Messages: 20},
		Links: vezechat.LinkPolicy{Denied: []string{"bad.example", "münchen.example"}},
	}
}

func TestGuardRules_ThereAndBack(t *testing.T) {
	t.Parallel()
	r := usableRules()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := vezechat.ParseGuardRules(b)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v %v\nwant %+v", got, err, r)
	}
}

func TestParseGuardRules_Refuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		code     vezechat.Code
		says     string
	}{
		{"no JSON", `lists`, vezechat.CodeBadRequest, "not JSON"},
		{"an unknown field", `{"list":[],"spam":{"window":1}}`, vezechat.CodeBadRequest, `"list"`},
		{"two documents", `{"spam":{"window":1}} {}`, vezechat.CodeBadRequest, "follows"},
		{"too long", `{"allow":["` + strings.Repeat("a", vezechat.MaxGuardRules) + `"]}`, vezechat.CodeTooLarge, "bytes"},
		{"no window", `{}`, vezechat.CodeBadRequest, "spam.window"},
	} {
		_, err := vezechat.ParseGuardRules([]byte(tt.in))
		if vezechat.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %s that says %q", tt.name, err, tt.code, tt.says)
		}
	}
}

func TestGuardRules_Validate(t *testing.T) {
	t.Parallel()
	many := make([]string, vezechat.MaxWords+1)
	for i := range many {
		many[i] = "word"
	}
	for _, tt := range []struct {
		name   string
		change func(r *vezechat.GuardRules)
		code   vezechat.Code
		says   string
	}{
		{"as they are", func(*vezechat.GuardRules) {}, "", ""},
		{"a list without a name", func(r *vezechat.GuardRules) { r.Lists[0].Name = "" }, vezechat.CodeBadRequest, "list 1"},
		{"a name twice", func(r *vezechat.GuardRules) { r.Lists = append(r.Lists, r.Lists[0]) }, vezechat.CodeBadRequest, `"insults"`},
		{"no language", func(r *vezechat.GuardRules) { r.Lists[0].Language = "" }, vezechat.CodeBadRequest, "language"},
		{"a label with spaces", func(r *vezechat.GuardRules) { r.Lists[0].Label = "a b" }, vezechat.CodeBadRequest, "label"},
		{"an unknown severity", func(r *vezechat.GuardRules) { r.Lists[0].Severity = "bad" }, vezechat.CodeBadRequest, "severity"},
		{"an unknown kind", func(r *vezechat.GuardRules) { r.Lists[0].Kinds[0] = "hall" }, vezechat.CodeBadRequest, "kinds"},
		{"a word of one letter", func(r *vezechat.GuardRules) { r.Lists[0].Words[1] = "*a*" }, vezechat.CodeBadRequest, "word 2"},
		{"a star inside", func(r *vezechat.GuardRules) { r.Lists[0].Words[0] = "we*sel" }, vezechat.CodeBadRequest, "word 1"},
		{"two spaces", func(r *vezechat.GuardRules) { r.Lists[0].Words[0] = "fox  face" }, vezechat.CodeBadRequest, "spaces"},
		{"a long word", func(r *vezechat.GuardRules) { r.Lists[0].Words[0] = strings.Repeat("a", 65) }, vezechat.CodeTooLarge, "word 1"},
		{"not UTF-8", func(r *vezechat.GuardRules) { r.Lists[0].Words[0] = "ab\xff" }, vezechat.CodeBadRequest, "word 1"},
		{"too many words", func(r *vezechat.GuardRules) { r.Lists[0].Words = many }, vezechat.CodeTooLarge, "20000"},
		{"too many innocent words", func(r *vezechat.GuardRules) { r.Allow = many }, vezechat.CodeTooLarge, "allow"},
		{"too many lists", func(r *vezechat.GuardRules) { r.Lists = make([]vezechat.WordList, 65) }, vezechat.CodeTooLarge, "64"},
		{"an innocent word with a star", func(r *vezechat.GuardRules) { r.Allow[0] = "ra*tio" }, vezechat.CodeBadRequest, "allow"},
		{"an unknown room", func(r *vezechat.GuardRules) { r.Rooms["hall"] = vezechat.RoomVerdicts{} }, vezechat.CodeBadRequest, "hall"},
		{"an unknown verdict", func(r *vezechat.GuardRules) {
			r.Rooms[vezechat.KindDM] = vezechat.RoomVerdicts{Mild: "shout"}
		}, vezechat.CodeBadRequest, "rooms.dm.mild"},
		{"spam redacted", func(r *vezechat.GuardRules) {
			r.Rooms[vezechat.KindDM] = vezechat.RoomVerdicts{Spam: vezechat.VerdictRedact}
		}, vezechat.CodeBadRequest, "rooms.dm.spam"},
		{"a long window", func(r *vezechat.GuardRules) { r.Spam.Window = 601 }, vezechat.CodeBadRequest, "spam.window"},
		{"a limit below zero", func(r *vezechat.GuardRules) { r.Spam.NewLinks = -1 }, vezechat.CodeBadRequest, "spam.new_links"},
		{"new for ever", func(r *vezechat.GuardRules) { r.Spam.NewFor = 1 << 30 }, vezechat.CodeBadRequest, "spam.new_for"},
		{"an address for a host", func(r *vezechat.GuardRules) { r.Links.Allowed = []string{"https://a.example/x"} }, vezechat.CodeBadRequest, "links"},
		{"a host without a label", func(r *vezechat.GuardRules) { r.Links.Denied = []string{"a..example"} }, vezechat.CodeBadRequest, "links"},
	} {
		r := usableRules()
		tt.change(&r)
		err := r.Validate()
		if vezechat.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q that says %q", tt.name, err, tt.code, tt.says)
		}
	}
}

// What is wrong with a word is told without the word: the message may be shown
// where the list is not.
func TestGuardRules_ErrorsDoNotRepeatWords(t *testing.T) {
	t.Parallel()
	r := usableRules()
	r.Lists[0].Words = []string{"weasel!"}
	r.Allow = nil
	if err := r.Validate(); err == nil || strings.Contains(err.Error(), "weasel") {
		t.Error(err)
	}
}

func TestVerdict_Order(t *testing.T) {
	t.Parallel()
	all := vezechat.Verdicts()
	for i, v := range all {
		if v.Weight() != i || !v.Valid() {
			t.Errorf("%s weighs %d, want %d", v, v.Weight(), i)
		}
		for j, w := range all {
			if got, want := v.Heavier(w), all[max(i, j)]; got != want {
				t.Errorf("%s and %s: %s, want %s", v, w, got, want)
			}
		}
	}
	if v := vezechat.GuardVerdict("shout"); v.Valid() || v.Weight() != vezechat.VerdictBlock.Weight() {
		t.Error("an unknown verdict must weigh as much as block")
	}
	if v := (vezechat.RoomVerdicts{}).Of(vezechat.SeveritySevere); v != vezechat.VerdictAllow {
		t.Errorf("what is left out: %q, want allow", v)
	}
}
