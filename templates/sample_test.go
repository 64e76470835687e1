package templates

import (
	"fmt"
	"time"

	"vezeuniqverse.com/vezechat"
)

var sampleNow = time.Date(2026, 11, 23, 14, 30, 0, 0, time.UTC)

func samplePage() Page {
	return Page{
		Base: "/proxy/chat", CSRF: "csrf-token-1",
		Me: vezechat.Caller{UserID: 981, Handle: "@pilot", Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}},
	}
}

func sampleRooms() RoomsPage {
	room := func(id vezechat.RoomID, name string, kind vezechat.RoomKind, members, unread int, ago time.Duration) RoomItem {
		return RoomItem{Room: vezechat.Room{ID: id, Name: name, Kind: kind, Members: members, Unread: unread, Head: 400, LastAt: new(sampleNow.Add(-ago))}}
	}
	dm := room(20, "dm:981:982", vezechat.KindDM, 2, 1, 40*time.Minute)
	dm.Title = "@nova"
	return RoomsPage{
		Page: samplePage(), Epoch: "e1", MayDM: true,
		Kinds: []vezechat.RoomKind{vezechat.KindGuild, vezechat.KindParty, vezechat.KindGlobal},
		Mine: []RoomItem{
			room(17, "Bridge", vezechat.KindGlobal, 1284, 12, 2*time.Minute), dm,
			room(18, "Andromeda Pilots", vezechat.KindGuild, 42, 100, 3*time.Hour),
			room(19, "cs16/de_dust2", vezechat.KindParty, 10, 0, 26*time.Hour),
			room(21, "Ticket 88: my warp drive hums in B flat and nobody believes me", vezechat.KindSupport, 3, 0, 80*time.Hour),
		},
		Open: []RoomItem{room(30, "Trading floor", vezechat.KindGlobal, 310, 0, 5*time.Minute), room(31, "Newcomers", vezechat.KindGlobal, 87, 0, 9*time.Hour)},
	}
}

func sampleRoom() RoomPage {
	d := RoomPage{
		Page: samplePage(), Epoch: "e1", More: true, ReadUpto: 30, Nonce: "nonce-1",
		Room:   vezechat.Room{ID: 17, Name: "Bridge", Kind: vezechat.KindGlobal, Members: 1284},
		Rights: Rights{Post: true, Leave: true},
		Here:   []vezechat.UserID{981, 982, 985},
	}
	names := []string{"@pilot", "@nova", "@kepler", "@zaphod", "@ripley", "@日本の人"}
	for i, n := range names {
		role := vezechat.RoleMember
		if i == 1 {
			role = vezechat.RoleOwner
		}
		d.Members = append(d.Members, vezechat.Member{UserID: vezechat.UserID(981 + i), Handle: n, Role: role})
	}
	at := sampleNow.Add(-26 * time.Hour)
	add := func(gap time.Duration, user int, text string) *vezechat.Message {
		at = at.Add(gap)
		d.Messages = append(d.Messages, vezechat.Message{
			RoomID: 17, ID: vezechat.MessageID(3 * (len(d.Messages) + 1)), UserID: vezechat.UserID(981 + user),
			Handle: names[user], Text: text, At: at,
		})
		return &d.Messages[len(d.Messages)-1]
	}
	add(0, 1, "Morning crew. The **warp gate** is back online after last night's flare.")
	add(time.Minute, 1, "Telemetry: https://status.veze.example/gates/andromeda?view=24h")
	add(2*time.Minute, 2, "Nice. Who recalibrated the `flux.capacitor`?")
	m := add(time.Minute, 0, "That was me. It took *three* attempts and a spanner.")
	m.Reactions = []vezechat.Reaction{{Emoji: "🚀", Count: 4, Users: []vezechat.UserID{981, 982, 983, 984}}, {Emoji: "👍", Count: 1, Users: []vezechat.UserID{983}}}
	add(25*time.Hour, 3, "").Deleted = true
	m = add(time.Minute, 3, "For the log, this is the sequence we ran:\n```\nfor gate in $(gates list); do\n  gates reset \"$gate\" --wait 30s\ndone\n```")
	edited := m.At.Add(time.Minute)
	m.EditedAt = &edited
	add(time.Minute, 4, "").Hidden = true
	m = add(time.Minute, 1, "I would add `--dry-run` the first time. Ask me how I know.")
	m.ReplyTo, m.Reply = 18, &vezechat.Preview{UserID: 984, Handle: "@zaphod", Text: "For the log, this is the sequence we ran:"}
	add(30*time.Second, 0, "How do you know?")
	add(10*time.Second, 0, "Actually, don't tell me.")
	add(5*time.Minute, 5, "ワープゲートは安定しています。みんな、ありがとう！")
	add(time.Minute, 2, "A very long line to see how it wraps on a phone: the quick brown fox jumps over the lazy dog while Supercalifragilisticexpialidocious_identifiers_without_any_break_opportunity_push_the_edges_of_the_bubble.")
	m = add(time.Minute, 1, "Fleet leaves dock 7 in ten minutes. Bring snacks.")
	m.Reactions = []vezechat.Reaction{{Emoji: "❤️", Count: 2, Users: []vezechat.UserID{984, 985}}}
	d.Head = m.ID
	return d
}

// sampleFill fills every text a page shows with s, to see that it stays text.
func sampleFill(s string) (RoomsPage, RoomPage, SignInPage, ErrorPage) {
	base := samplePage()
	base.Me.Handle, base.CSRF, base.Notice = s, s, s
	rooms := sampleRooms()
	rooms.Page, rooms.Name, rooms.To, rooms.Epoch = base, s, s, s
	for i := range rooms.Mine {
		rooms.Mine[i].Name, rooms.Mine[i].Title, rooms.Mine[i].Kind = s, s, vezechat.RoomKind(s)
	}
	for i := range rooms.Open {
		rooms.Open[i].Name = s
	}
	rooms.Kinds = append(rooms.Kinds, vezechat.RoomKind(s))
	room := sampleRoom()
	room.Page, room.Title, room.Room.Name, room.Room.Kind, room.Epoch, room.Nonce, room.Draft = base, s, s, vezechat.RoomKind(s), s, s, s
	room.Rights.Join = true
	for i := range room.Messages {
		m := &room.Messages[i]
		m.Handle, m.Text = s, s
		m.Reactions = []vezechat.Reaction{{Emoji: s, Count: 1, Users: []vezechat.UserID{1}}}
		m.ReplyTo, m.Reply = 3, &vezechat.Preview{Handle: s, Text: s}
	}
	for i := range room.Members {
		room.Members[i].Handle, room.Members[i].Role = s, vezechat.Role(s)
	}
	room.ReplyTo = &room.Messages[0]
	return rooms, room, SignInPage{Page: base, Handle: s, Next: s, Roles: []string{s}},
		ErrorPage{Page: base, Status: 404, Code: vezechat.Code(s), Message: s, RequestID: s}
}

func sampleError(status int, code vezechat.Code) ErrorPage {
	return ErrorPage{Page: samplePage(), Status: status, Code: code, Message: "no such room", RequestID: fmt.Sprintf("req-%d", status)}
}
