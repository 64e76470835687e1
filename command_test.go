package vezechat_test

import (
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func TestCommand_Parse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in, name, rest string
		ok             bool
	}{
		{"/roll", "roll", "", true},
		{"/Roll 2d6", "roll", "2d6", true},
		{"/roll\n2d6 \n", "roll", "2d6", true},
		{"/a-b_2 x", "a-b_2", "x", true},
		{"//roll", "", "", false},
		{" /roll", "", "", false},
		{"/usr/bin", "", "", false},
		{"/2d6", "", "", false},
		{"/", "", "", false},
		{"/ roll", "", "", false},
		{"/röll", "", "", false},
		{"/" + strings.Repeat("r", vezechat.MaxCommandName), strings.Repeat("r", vezechat.MaxCommandName), "", true},
		{"/" + strings.Repeat("r", vezechat.MaxCommandName+1), "", "", false},
	} {
		name, rest, ok := vezechat.ParseCall(tt.in)
		if ok != tt.ok || ok && (name != tt.name || rest != tt.rest) {
			t.Errorf("%q: %q, %q, %t", tt.in, name, rest, ok)
		}
	}
}

func FuzzParseCall(f *testing.F) {
	for _, s := range texts {
		f.Add("/" + s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, rest, ok := vezechat.ParseCall(s)
		if ok && (!strings.HasPrefix(strings.ToLower(s), "/"+name) || !strings.Contains(s, rest) || name == "") {
			t.Errorf("%q: %q, %q", s, name, rest)
		}
	})
}

func TestCommand_HelpFitsIntoAMessage(t *testing.T) {
	t.Parallel()
	var list []vezechat.Command
	for range vezechat.MaxRoomCommands {
		list = append(list, vezechat.Command{Name: strings.Repeat("n", 32), Bot: "@bot", Description: strings.Repeat("é", 200), Usage: strings.Repeat("u", 200)})
	}
	text, err := vezechat.CheckText(vezechat.HelpText(list))
	if err != nil || !strings.HasSuffix(text, "…") {
		t.Errorf("%d characters, %v", len([]rune(text)), err)
	}
}
