package edge_test

import (
	"cmp"
	"context"
	"slices"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// Who speaks in a ticket's room is said by the hub: not by whoever speaks, and in no
// other room.
func TestPoster_SendSaysWhoSpeaks(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	staff, bot := vezechat.ScopeTicketManage, vezechat.ScopeChatActAs
	for _, tt := range []struct {
		name string
		kind vezechat.RoomKind
		who  vezechat.Caller
		role vezechat.Role
		want []string
		of   vezechat.UserID // whose room it is; 0: the speaker's
	}{
		{"the requester", vezechat.KindSupport, member(1), vezechat.RoleMember, nil, 0},
		{"one of the staff", vezechat.KindSupport, member(1, staff), vezechat.RoleNone, []string{vezechat.FlagStaff}, 3},
		{"one of the staff with a ticket of their own", vezechat.KindSupport, member(1, staff), vezechat.RoleMember, nil, 0},
		{"an administrator", vezechat.KindSupport, member(1, vezechat.ScopeChatAdmin), vezechat.RoleNone, []string{vezechat.FlagStaff}, 3},
		{"a bot", vezechat.KindSupport, member(1, staff, bot), vezechat.RoleNone, []string{vezechat.FlagBot}, 3},
		{"the requester, spoken for", vezechat.KindSupport, member(1, bot), vezechat.RoleMember, nil, 0},
		{"who saw it merged into another's", vezechat.KindSupport, member(1), vezechat.RoleMember, nil, 3},
		{"one of the staff who saw it merged into another's", vezechat.KindSupport, member(1, staff), vezechat.RoleMember, []string{vezechat.FlagStaff}, 3},
		{"one of the staff in a guild", vezechat.KindGuild, member(1, staff), vezechat.RoleMember, nil, 0},
		{"one of the staff in a global room", vezechat.KindGlobal, member(1, staff), vezechat.RoleNone, nil, 3},
	} {
		acc := vezechat.Access{Room: vezechat.Room{ID: 2, Kind: tt.kind, CreatedBy: cmp.Or(tt.of, tt.who.UserID)}, UserID: tt.who.UserID, Role: tt.role}
		if _, err := d.Send(context.Background(), edge.Send{Caller: tt.who, Access: acc, Text: tt.name}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if _, e := d.hub.last(); !slices.Equal(e.Flags, tt.want) {
			t.Errorf("%s: flags %v, want %v", tt.name, e.Flags, tt.want)
		}
	}
	acc := vezechat.Access{Room: vezechat.Room{ID: 2, Kind: vezechat.KindSupport}, UserID: 1}
	_, err := d.Send(context.Background(), edge.Send{Caller: member(1), Access: acc, Text: "x"})
	wantCode(t, "a stranger", err, vezechat.CodeNotFound)
}
