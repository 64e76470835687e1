package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// waiting waits until so many transactions wait for a lock.
func (w *world) waiting(n int) {
	w.t.Helper()
	const sql = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
	for end := time.Now().Add(30 * time.Second); w.count(sql) != n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%d transactions wait, not %d", w.count(sql), n)
		}
	}
}

// An erasure and a bridge that collects e-mails take the same rows, the one in the order
// of the table and the other in that of tickets: neither ends the other, and nothing of the
// user is left.
func TestErase_WhileEmailsAreCollected(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	collect := func() {
		if _, err := w.CollectEmails(t.Context(), time.Hour, 500); err != nil {
			t.Error(err)
		}
	}
	w.verified(w.ann)
	collect() // from now on
	tickets := []vezechat.Ticket{w.ticket(w.ann, "first"), w.ticket(w.ann, "middle"), w.ticket(w.ann, "last")}
	told := func(tk vezechat.Ticket) {
		w.store(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: tk.Room, UserID: w.staff.UserID, Handle: w.staff.Handle, Text: "an answer", Flags: []string{vezechat.FlagStaff}, At: time.Now()})
		if _, err := w.DrainInbox(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		w.echo()
	}
	for _, i := range []int{2, 1, 0} { // the table has the last one first
		told(tickets[i])
		collect()
	}
	const emails = `SELECT count(*) FROM emails WHERE user_id = $1`
	if n := w.count(emails, w.ann.UserID); n != 3 {
		t.Fatalf("%d e-mails", n)
	}
	for _, tk := range tickets {
		told(tk)
	}
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM emails WHERE ticket_id = $1 FOR UPDATE`, tickets[1].ID); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(collect)
	w.waiting(1) // it has the first one, and waits for the middle
	both.Go(func() {
		if err := w.EraseTables(t.Context(), w.ann.UserID, func(int) {}); err != nil {
			t.Error(err)
		}
	})
	w.waiting(2)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	both.Wait()
	if n := w.count(emails, w.ann.UserID); n != 0 {
		t.Errorf("%d e-mails are left", n)
	}
}

// verified gives somebody an address that e-mails are sent to.
func (w *deskWorld) verified(c vezechat.Caller) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), `UPDATE users SET email = id || '@mail.example', email_verified = true WHERE id = $1`, c.UserID); err != nil {
		w.t.Fatal(err)
	}
}
