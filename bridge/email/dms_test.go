package email_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/email"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/storage"
)

// dmWorld is a world with a real log, which storage reads.
type dmWorld struct {
	*world
	bus *bus.Bus
	n   int
}

func newDMWorld(t *testing.T) *dmWorld {
	t.Helper()
	w := &dmWorld{world: newWorld(t), bus: natstest.New(t)}
	role := storage.New(storage.Config{Store: w.Store, Reader: w.bus, Log: w.bus, Advancer: w.bus, Registerer: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- role.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-ready
	return w
}

// tell runs a role that tells of direct messages to who is away for so long.
func (w *dmWorld) tell(away time.Duration) (stop func()) {
	w.t.Helper()
	cfg := w.config()
	cfg.DMs = email.DMConfig{Store: w.Store, Reader: w.bus, After: away}
	stop = w.run(cfg)
	until(w.t, "the log is read", func() bool {
		var n int
		must(w.t, w.pool.QueryRow(w.t.Context(), `SELECT count(*) FROM email_positions WHERE name = 'dm'`).Scan(&n))
		return n == 1
	})
	return stop
}

func (w *dmWorld) dm(a, b vezechat.Caller) vezechat.RoomID {
	w.t.Helper()
	r, err := w.OpenDM(w.t.Context(), vezechat.OpenDM{Caller: a, To: vezechat.UserQuery{ID: b.UserID}})
	must(w.t, err)
	return r.ID
}

func (w *dmWorld) write(by vezechat.Caller, room vezechat.RoomID, text string) vezechat.MessageID {
	w.t.Helper()
	w.n++
	e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: room, UserID: by.UserID, Handle: by.Handle, Text: text, At: time.Now()}
	ack, err := w.bus.Append(w.t.Context(), vezechat.Entry{Subject: vezechat.RoomSubject(room), ID: fmt.Sprint("dm-", w.n), Payload: vezechat.AppendEvent(nil, &e)})
	must(w.t, err)
	return ack.Seq
}

// stored waits until storage has a message.
func (w *dmWorld) stored(id vezechat.MessageID) {
	w.t.Helper()
	until(w.t, "it is stored", func() bool {
		p, err := w.Position(w.t.Context())
		return err == nil && p.Seq >= id
	})
}

func (w *dmWorld) idle() bool {
	w.t.Helper()
	var n int
	must(w.t, w.pool.QueryRow(w.t.Context(), `SELECT count(*) FROM email_dms WHERE due_at <= now() + interval '10 minutes'`).Scan(&n))
	return n == 0
}

// Who is away gets one e-mail with what they have not read, and a ticket of their own;
// the bridge may die at any point, and tells of each message once.
func TestDMs_WhoIsAway(t *testing.T) {
	t.Parallel()
	w := newDMWorld(t)
	const away = 400 * time.Millisecond
	w.tell(away)() // from here on
	bob := w.user("bob")
	room := w.dm(bob, w.ann)
	lobby, err := w.CreateRoom(t.Context(), vezechat.CreateRoom{Caller: bob, Name: "Guild", Kind: vezechat.KindGuild, Members: []vezechat.UserID{w.ann.UserID}})
	must(t, err)
	w.write(bob, lobby.ID, "not direct")
	w.write(bob, room, "first <b>")
	w.stored(w.write(bob, room, "second"))
	w.tell(away)()
	stop := w.tell(away)
	until(t, "an e-mail", func() bool { return len(w.mail.mails()) == 1 })
	m := w.mail.mails()[0]
	if m.To[0] != "<ann@mail.example>" || m.Subject != "@bob wrote to you" || !strings.Contains(m.Text, "first <b>") || !strings.Contains(m.Text, "second") || strings.Contains(m.HTML, "<b>") ||
		strings.Contains(m.Text, "not direct") || !strings.Contains(m.Text, fmt.Sprintf("https://hub.example/chat/rooms/%d", room)) {
		t.Errorf("%+v", m)
	}
	stop()
	stop = w.tell(away)
	third := w.write(bob, room, "third")
	until(t, "another e-mail", func() bool { return len(w.mail.mails()) == 2 })
	if m := w.mail.mails()[1]; !strings.Contains(m.Text, "third") || strings.Contains(m.Text, "second") {
		t.Errorf("%s", m.Text)
	}
	until(t, "nothing waits", w.idle)
	mine, err := w.Tickets(t.Context(), vezechat.TicketQuery{Caller: w.ann})
	must(t, err)
	if len(mine.Tickets) != 1 || mine.Tickets[0].Channel != vezechat.ChannelDM || mine.Tickets[0].Requester != w.ann.UserID || strings.Contains(mine.Tickets[0].Subject, "first") {
		t.Errorf("%+v", mine.Tickets)
	}
	must(t, w.MarkRead(t.Context(), []vezechat.ReadMark{{Caller: w.ann, RoomID: room, Upto: third}}))
	_, err = w.pool.Exec(t.Context(), `UPDATE email_dms SET due_at = now()`)
	must(t, err)
	until(t, "the ticket is solved", func() bool {
		tk, err := w.Ticket(t.Context(), vezechat.TicketRef{Caller: w.ann, TicketID: mine.Tickets[0].ID})
		return err == nil && tk.Status == vezechat.StatusSolved
	})
	stop()
	if len(w.mail.mails()) != 2 {
		t.Errorf("%d e-mails", len(w.mail.mails()))
	}
}

// What is read in time, by whoever is here, or not wanted is not told.
func TestDMs_NotTold(t *testing.T) {
	t.Parallel()
	w := newDMWorld(t)
	w.tell(3 * time.Second)
	bob, carol, dan, eve := w.user("bob"), w.user("carol"), w.user("dan"), w.user("eve")
	no := false
	_, err := w.ChooseEmails(t.Context(), vezechat.ChooseEmails{UserID: carol.UserID, DMs: &no})
	must(t, err)
	must(t, w.SeenUsers(t.Context(), []vezechat.UserID{dan.UserID, 999999}))
	_, err = w.pool.Exec(t.Context(), `UPDATE user_seen SET at = now() + interval '1 hour'`) // and stays
	must(t, err)
	read, unwanted, here := w.dm(w.ann, bob), w.dm(w.ann, carol), w.dm(w.ann, dan)
	id := w.write(w.ann, read, "read in time")
	w.write(w.ann, unwanted, "not wanted")
	w.write(w.ann, here, "to somebody who is here")
	w.stored(id)
	must(t, w.MarkRead(t.Context(), []vezechat.ReadMark{{Caller: bob, RoomID: read, Upto: id}}))
	told := w.dm(w.ann, eve)
	w.write(w.ann, told, "this one is told")
	until(t, "the one e-mail", func() bool { return len(w.mail.mails()) > 0 && w.idle() })
	if got := w.mail.mails(); len(got) != 1 || got[0].To[0] != "<eve@mail.example>" {
		t.Errorf("%+v", got)
	}
}
