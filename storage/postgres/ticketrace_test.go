package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// actor does one thing at random to one of few tickets; what is refused is none.
func (w *deskWorld) actor(rnd *rand.Rand, ids []vezechat.TicketID) error {
	ctx := w.t.Context()
	id, who := ids[rnd.IntN(len(ids))], []vezechat.Caller{w.ann, w.staff, w.two, w.boss}[rnd.IntN(4)]
	r := tref(who, id)
	switch rnd.IntN(11) {
	case 0, 1, 2:
		moves := []vezechat.Move{vezechat.MoveWait, vezechat.MoveHold, vezechat.MoveResume, vezechat.MoveSolve, vezechat.MoveReopen}
		_, err := w.MoveTicket(ctx, vezechat.MoveTicket{TicketRef: r, Move: moves[rnd.IntN(len(moves))]})
		return err
	case 3:
		_, err := w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: r, Assignee: []vezechat.UserID{0, w.staff.UserID, w.two.UserID}[rnd.IntN(3)]})
		return err
	case 4:
		prio := []vezechat.Priority{vezechat.PriorityLow, vezechat.PriorityHigh}[rnd.IntN(2)]
		_, err := w.PatchTicket(ctx, vezechat.PatchTicket{TicketRef: r, Priority: &prio, Tags: &[]string{fmt.Sprint("t", rnd.IntN(3))}})
		return err
	case 5:
		r.Version = 1 + rnd.IntN(20)
		subject := fmt.Sprint("s", rnd.IntN(100))
		_, err := w.PatchTicket(ctx, vezechat.PatchTicket{TicketRef: r, Subject: &subject})
		return err
	case 6:
		return w.LinkTicket(ctx, vezechat.LinkTicket{TicketRef: r, Other: ids[rnd.IntN(len(ids))], Kind: vezechat.LinkRelated, Remove: rnd.IntN(2) == 0})
	case 7:
		return w.WatchTicket(ctx, vezechat.WatchTicket{TicketRef: r, Remove: rnd.IntN(2) == 0})
	case 8:
		if rnd.IntN(6) > 0 {
			return nil
		}
		_, err := w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: r, Into: ids[rnd.IntN(len(ids))]})
		return err
	case 9:
		_, err := w.BulkTickets(ctx, vezechat.BulkTickets{Caller: who, IDs: ids[:2], Actions: []vezechat.TicketAction{{Do: vezechat.DoTag, Tag: "bulk"}}})
		return err
	default:
		_, err := w.DrainInbox(ctx, 10)
		return err
	}
}

// Many do many things at once, while messages arrive and are heard by several. Each
// ticket's history replays to what it is, its events tell each of its versions in
// order, every message was heard once, and nobody waited for ever for somebody else.
func TestTickets_ManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	var ids []vezechat.TicketID
	var rooms []vezechat.RoomID
	for i := range 6 {
		tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: fmt.Sprint("t", i), Body: "hello"})
		ids, rooms = append(ids, tk.ID), append(rooms, tk.Room)
	}
	w.echo()
	steps := 120
	if testing.Short() {
		steps = 40
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(n)))
			for range steps {
				err := w.actor(rnd, ids)
				if e := vezechat.AsError(err); err != nil && e.Err != nil { // PostgreSQL's, not the hub's: no lock kept two apart
					t.Errorf("actor %d: %v", n, err)
				}
				switch vezechat.CodeOf(err) {
				case "", vezechat.CodeBadTransition, vezechat.CodeConflict, vezechat.CodeBadRequest, vezechat.CodeForbidden:
				default:
					t.Errorf("actor %d: %v", n, err)
				}
			}
		})
	}
	said, rnd := 0, rand.New(rand.NewPCG(7, 99))
	for range steps { // the one writer of the log
		who, flags := w.ann, []string(nil)
		if rnd.IntN(2) == 0 {
			who, flags = w.staff, []string{vezechat.FlagStaff}
		}
		e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: rooms[rnd.IntN(len(rooms))], UserID: who.UserID, Handle: who.Handle, Text: "word", Flags: flags, At: time.Now()}
		w.store(e)
		said++
	}
	wg.Wait()
	w.hear()
	total := w.count(`SELECT count(*) FROM messages`)
	if heard := w.count(`SELECT count(*) FROM desk_events WHERE type = 'ticket.commented'`); heard != total || total < said+len(ids) {
		t.Errorf("%d messages, %d heard, %d said", total, heard, said+len(ids))
	}
	if n := w.count(`SELECT count(*) FROM ticket_inbox`) + w.count(`SELECT count(*) FROM outbox`); n != 0 {
		t.Errorf("%d rows wait", n)
	}
	p, err := w.Tickets(t.Context(), vezechat.TicketQuery{Caller: w.staff})
	if err != nil {
		t.Fatal(err)
	}
	for _, tk := range p.Tickets {
		w.replaysTo(tk)
		w.toldOf(tk)
	}
}

// toldOf checks that a ticket's events are a chain that tells every version, rising.
func (w *deskWorld) toldOf(tk vezechat.Ticket) {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT seq, prev, payload FROM desk_events WHERE subject = $1 ORDER BY seq`, vezechat.TicketSubject(tk.ID))
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	last, version := vezechat.Seq(0), 0
	for rows.Next() {
		var seq, prev vezechat.Seq
		var payload []byte
		if err := rows.Scan(&seq, &prev, &payload); err != nil {
			w.t.Fatal(err)
		}
		e, err := vezechat.ParseEvent(payload)
		if err != nil || prev != last || e.Version != version && e.Version != version+1 {
			w.t.Errorf("ticket %d: event %d after %d (prev %d) tells version %d after %d: %v", tk.ID, seq, last, prev, e.Version, version, err)
		}
		last, version = seq, e.Version
	}
	if rows.Err() != nil || version != tk.Version {
		w.t.Errorf("ticket %d: told up to version %d of %d, %v", tk.ID, version, tk.Version, rows.Err())
	}
}

// Two tickets that are linked to each other at the same time do not wait for each other, and never
// block each other.
func TestLinkTickets_BothWaysAtOnce(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	a, b := w.ticket(w.ann, "a"), w.ticket(w.bob, "b")
	var wg sync.WaitGroup
	for _, pair := range [][2]vezechat.TicketID{{a.ID, b.ID}, {b.ID, a.ID}} {
		wg.Go(func() {
			for n := range 100 {
				r := vezechat.LinkTicket{TicketRef: tref(w.staff, pair[0]), Other: pair[1], Kind: vezechat.LinkBlocks, Remove: n%2 > 0}
				if err := w.LinkTicket(t.Context(), r); err != nil && vezechat.CodeOf(err) != vezechat.CodeConflict {
					t.Error(err)
				}
				if links, err := w.TicketLinks(t.Context(), tref(w.staff, a.ID)); err != nil || len(links) > 1 {
					t.Errorf("%+v, %v", links, err)
				}
			}
		})
	}
	wg.Wait()
}
