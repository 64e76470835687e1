package vezechat_test

import (
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Who may archive a room. What is everybody's only administrators close, not even whoever
// made it while they were one.
func TestAccess_Archive(t *testing.T) {
	t.Parallel()
	scopes := func(more ...vezechat.Scope) vezechat.Scopes {
		return append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}, more...)
	}
	for _, tt := range []struct {
		kind   vezechat.RoomKind
		role   vezechat.Role
		scopes vezechat.Scopes
		want   vezechat.Code
	}{
		{vezechat.KindGlobal, vezechat.RoleNone, scopes(), vezechat.CodeForbidden},
		{vezechat.KindGlobal, vezechat.RoleOwner, scopes(), vezechat.CodeForbidden},
		{vezechat.KindGlobal, vezechat.RoleOwner, scopes(vezechat.ScopeChatModerate), vezechat.CodeForbidden},
		{vezechat.KindGlobal, vezechat.RoleNone, scopes(vezechat.ScopeChatAdmin), ""},
		{vezechat.KindGuild, vezechat.RoleOwner, scopes(), ""},
		{vezechat.KindGuild, vezechat.RoleModerator, scopes(), vezechat.CodeForbidden},
		{vezechat.KindGuild, vezechat.RoleMember, scopes(vezechat.ScopeChatModerate), ""},
		{vezechat.KindGuild, vezechat.RoleNone, scopes(vezechat.ScopeChatModerate), vezechat.CodeNotFound},
		{vezechat.KindGuild, vezechat.RoleNone, scopes(vezechat.ScopeChatAdmin), ""},
		{vezechat.KindParty, vezechat.RoleOwner, scopes(), ""},
		{vezechat.KindDM, vezechat.RoleMember, scopes(vezechat.ScopeChatAdmin), vezechat.CodeForbidden},
		{vezechat.KindSupport, vezechat.RoleMember, scopes(vezechat.ScopeChatAdmin), vezechat.CodeForbidden},
	} {
		a := vezechat.Access{Room: vezechat.Room{ID: 2, Kind: tt.kind}, UserID: 1, Role: tt.role}
		err := a.May(vezechat.Caller{UserID: 1, Scopes: tt.scopes}, vezechat.ActionArchive, time.Now())
		if got := vezechat.CodeOf(err); got != tt.want {
			t.Errorf("%s, %q with %s: %v, want %q", tt.kind, tt.role, tt.scopes, err, tt.want)
		}
	}
}
