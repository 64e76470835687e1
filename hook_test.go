package vezechat_test

import (
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func TestHook_TokensAreNoKeys(t *testing.T) {
	t.Parallel()
	key, hook := vezechat.NewKey(), vezechat.NewHookToken()
	if _, ok := vezechat.DigestKey(hook); ok {
		t.Error("a hook's token is a key")
	}
	if _, ok := vezechat.DigestHook(key); ok {
		t.Error("a key is a hook's token")
	}
	d, ok := vezechat.DigestHook(hook)
	if !ok || !strings.Contains(hook, d.Hint) {
		t.Errorf("%v", d)
	}
	if _, ok := vezechat.DigestHook(hook[:len(hook)-1]); ok {
		t.Error("a token that is cut is one")
	}
}

func TestHook_Name(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
		code           vezechat.Code
	}{
		{"as it is", "Build farm", "Build farm", ""},
		{"spaces", " Build \n farm ", "Build farm", ""},
		{"none", "", "", vezechat.CodeBadRequest},
		{"of nothing to see", "\u200b\u2060", "", vezechat.CodeBadRequest},
		{"turned around", "a\u202eb", "", vezechat.CodeBadRequest},
		{"of a person", "@ann", "", vezechat.CodeBadRequest},
		{"with a small at", "\ufe6bann", "", vezechat.CodeBadRequest},
		{"no text", "\xff", "", vezechat.CodeBadRequest},
		{"as long as may be", strings.Repeat("é", vezechat.MaxHookName), strings.Repeat("é", vezechat.MaxHookName), ""},
		{"longer", strings.Repeat("é", vezechat.MaxHookName+1), "", vezechat.CodeTooLarge},
	} {
		got, err := vezechat.CheckHookName(tt.in)
		if got != tt.want || err != nil && vezechat.CodeOf(err) != tt.code || err == nil && tt.code != "" {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}
