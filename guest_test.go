package vezechat_test

import (
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func TestCheckSupport_Subject(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"help":                        "help",
		"  first line \nsecond":       "first line",
		"the **clamp** and `valve 3`": "the clamp and valve 3",
		"a\ttab":                      "a tab",
		strings.Repeat("é", 200):      strings.Repeat("é", 79) + "…",
		"```":                         "A conversation",
		"**\n":                        "A conversation",
	} {
		r, err := vezechat.CheckSupport(vezechat.OpenSupport{Text: text})
		if err != nil || r.Subject != want {
			t.Errorf("%q: %q, %v, want %q", text, r.Subject, err, want)
		}
	}
	if r, err := vezechat.CheckSupport(vezechat.OpenSupport{Text: "x", Subject: " given "}); err != nil || r.Subject != "given" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, name := range []string{"Zoë 👩‍🚀", "می\u200cخواهم"} {
		if r, err := vezechat.CheckSupport(vezechat.OpenSupport{Text: "x", Name: name}); err != nil || r.Name != name {
			t.Errorf("%q: %q, %v", name, r.Name, err)
		}
	}
	for name, r := range map[string]vezechat.OpenSupport{
		"nothing to see": {Text: "\u200b\u3164\u00ad\u2800"}, "a subject that turns the line": {Text: "x", Subject: "a\u202eb"}, "an invisible subject": {Text: "x", Subject: "\u2060"},
		"a name of joiners": {Text: "x", Name: "\u200d\u200c"},
		"no text":           {Text: " "}, "a name that turns the line": {Text: "x", Name: "a\u202eb"}, "a long name": {Text: "x", Name: strings.Repeat("a", 41)},
	} {
		if _, err := vezechat.CheckSupport(r); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
