package vezechat_test

import (
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

func TestMayModerate(t *testing.T) {
	t.Parallel()
	const (
		me     = vezechat.UserID(1)
		ok     = vezechat.Code("")
		no     = vezechat.CodeForbidden
		hidden = vezechat.CodeNotFound
	)
	read := vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}
	with := func(more ...vezechat.Scope) vezechat.Scopes {
		return append(append(vezechat.Scopes{}, read...), more...)
	}
	mod, admin := with(vezechat.ScopeChatModerate), with(vezechat.ScopeChatAdmin)
	for _, tt := range []struct {
		name   string
		kind   vezechat.RoomKind
		scopes vezechat.Scopes
		role   vezechat.Role
		do     vezechat.ModKind
		target vezechat.Standing
		want   vezechat.Code
	}{
		{"a stranger", vezechat.KindGuild, read, "", vezechat.ModHide, 0, hidden},
		{"a member", vezechat.KindGuild, read, vezechat.RoleMember, vezechat.ModHide, 0, no},
		{"anybody in a global room", vezechat.KindGlobal, read, "", vezechat.ModMute, 0, no},
		{"the room's moderator, a member", vezechat.KindGuild, read, vezechat.RoleModerator, vezechat.ModBan, vezechat.StandingMember, ok},
		{"the room's moderator, the room", vezechat.KindGuild, read, vezechat.RoleModerator, vezechat.ModLock, 0, ok},
		{"the room's moderator, another", vezechat.KindGuild, read, vezechat.RoleModerator, vezechat.ModHide, vezechat.StandingRoomModerator, no},
		{"the room's moderator, its owner", vezechat.KindGuild, read, vezechat.RoleModerator, vezechat.ModMute, vezechat.StandingRoomOwner, no},
		{"the room's moderator, one of the hub", vezechat.KindGuild, read, vezechat.RoleModerator, vezechat.ModMute, vezechat.StandingModerator, no},
		{"the owner, a moderator", vezechat.KindGuild, read, vezechat.RoleOwner, vezechat.ModBan, vezechat.StandingRoomModerator, ok},
		{"the owner, an owner", vezechat.KindGuild, read, vezechat.RoleOwner, vezechat.ModBan, vezechat.StandingRoomOwner, no},
		{"the owner, an administrator", vezechat.KindGuild, read, vezechat.RoleOwner, vezechat.ModBan, vezechat.StandingAdmin, no},
		{"the owner who may only read", vezechat.KindGuild, vezechat.Scopes{vezechat.ScopeChatRead}, vezechat.RoleOwner, vezechat.ModHide, 0, no},
		{"the hub's moderator, an owner", vezechat.KindGuild, mod, "", vezechat.ModBan, vezechat.StandingRoomOwner, ok},
		{"the hub's moderator, another", vezechat.KindGuild, mod, vezechat.RoleOwner, vezechat.ModBan, vezechat.StandingModerator, no},
		{"an administrator, a moderator", vezechat.KindGlobal, admin, "", vezechat.ModBan, vezechat.StandingModerator, ok},
		{"an administrator, another", vezechat.KindGlobal, admin, "", vezechat.ModHide, vezechat.StandingAdmin, no},
		{"others' direct messages", vezechat.KindDM, admin, "", vezechat.ModHide, vezechat.StandingMember, hidden},
		{"one's own direct messages", vezechat.KindDM, mod, vezechat.RoleMember, vezechat.ModDelete, vezechat.StandingMember, ok},
		{"one's own, without a scope", vezechat.KindDM, read, vezechat.RoleMember, vezechat.ModDelete, vezechat.StandingMember, no},
		{"a person in direct messages", vezechat.KindDM, mod, vezechat.RoleMember, vezechat.ModBan, vezechat.StandingMember, no},
		{"tickets without the desk", vezechat.KindSupport, mod, "", vezechat.ModHide, vezechat.StandingMember, hidden},
		{"tickets of the desk", vezechat.KindSupport, with(vezechat.ScopeTicketManage), "", vezechat.ModHide, vezechat.StandingMember, ok},
		{"the room of a ticket", vezechat.KindSupport, admin, "", vezechat.ModLock, 0, no},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := vezechat.Access{Room: vezechat.Room{ID: 7, Kind: tt.kind}, UserID: me, Role: tt.role}
			err := a.MayModerate(vezechat.Caller{UserID: me, Scopes: tt.scopes}, tt.do, tt.target)
			if got := vezechat.CodeOf(err); got != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestMayModerateHub(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scope  vezechat.Scope
		target vezechat.Standing
		may    bool
	}{
		{vezechat.ScopeChatWrite, vezechat.StandingNone, false},
		{vezechat.ScopeTicketManage, vezechat.StandingNone, false},
		{vezechat.ScopeChatModerate, vezechat.StandingNone, true},
		{vezechat.ScopeChatModerate, vezechat.StandingModerator, false},
		{vezechat.ScopeChatModerate, vezechat.StandingAdmin, false},
		{vezechat.ScopeChatAdmin, vezechat.StandingModerator, true},
		{vezechat.ScopeChatAdmin, vezechat.StandingAdmin, false},
	} {
		err := vezechat.Caller{UserID: 1, Scopes: vezechat.Scopes{tt.scope}}.MayModerateHub(tt.target)
		if (err == nil) != tt.may {
			t.Errorf("%s against %d: %v", tt.scope, tt.target, err)
		}
	}
	if (vezechat.Caller{Scopes: vezechat.Scopes{vezechat.ScopeChatAdmin}}).MayModerateHub(0) == nil {
		t.Error("nobody may")
	}
}

func TestModAct_Validate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	past := now.Add(-time.Second)
	for _, a := range []vezechat.ModAct{
		{}, {Kind: "shadow"}, {Kind: vezechat.ModKick, UserID: 1}, {Kind: vezechat.ModRules},
		{Kind: vezechat.ModHide, RoomID: 1}, {Kind: vezechat.ModHide, MessageID: 1}, {Kind: vezechat.ModHide, RoomID: 1, MessageID: vezechat.MaxSeq + 1},
		{Kind: vezechat.ModBan}, {Kind: vezechat.ModLock}, {Kind: vezechat.ModApprove}, {Kind: vezechat.ModClaim},
		{Kind: vezechat.ModSlowMode, RoomID: 1, Seconds: -1}, {Kind: vezechat.ModSlowMode, RoomID: 1, Seconds: vezechat.MaxSlowMode + 1},
		{Kind: vezechat.ModBan, UserID: 1, Until: &past}, {Kind: vezechat.ModUnban, UserID: 1, Until: &now},
		{Kind: vezechat.ModBan, UserID: 1, Guard: "classifier"},
	} {
		if err := a.Validate(now); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%+v: %v", a, err)
		}
	}
	if err := (vezechat.ModAct{Kind: vezechat.ModHide, RoomID: 1, MessageID: 1, Guard: "classifier"}).Validate(now); err != nil {
		t.Error(err)
	}
}
