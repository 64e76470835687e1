package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestPatchTicket(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	for _, f := range []vezechat.TicketField{
		{Key: "ship", Name: "Ship", Type: vezechat.FieldText}, {Key: "age", Name: "Age", Type: vezechat.FieldNumber}, {Key: "paid", Name: "Paid", Type: vezechat.FieldBool},
		{Key: "since", Name: "Since", Type: vezechat.FieldDate}, {Key: "region", Name: "Region", Type: vezechat.FieldChoice, Options: []string{"eu", "us"}, Required: true},
	} {
		if _, err := w.PutTicketField(ctx, vezechat.PutTicketField{Caller: w.boss, Field: f}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.PutTicketField(ctx, vezechat.PutTicketField{Caller: w.boss, Field: vezechat.TicketField{Key: "age", Name: "Age", Type: vezechat.FieldText}}); vezechat.CodeOf(err) != vezechat.CodeConflict {
		t.Errorf("a field of another type: %v", err)
	}
	tk := w.ticket(w.ann, "x")
	patch := func(version int, custom string) (vezechat.Ticket, error) {
		r := vezechat.PatchTicket{TicketRef: tref(w.staff, tk.ID), Custom: vezechat.CustomJSON(custom)}
		r.Version = version
		return w.PatchTicket(ctx, r)
	}
	got, err := patch(1, `{"ship":"Rocinante","age":3.5,"paid":true,"since":"2026-02-28","region":"eu"}`)
	if err != nil || got.Version != 2 {
		t.Fatal(got, err)
	}
	if got, err = patch(2, `{"age":null,"region":"us"}`); err != nil || got.Version != 3 || string(got.Custom) != `{"paid":true,"region":"us","ship":"Rocinante","since":"2026-02-28"}` {
		t.Errorf("%s, %v", got.Custom, err)
	}
	if _, err = patch(2, `{"age":1}`); vezechat.CodeOf(err) != vezechat.CodeConflict {
		t.Errorf("an old version: %v", err)
	}
	if got, err = patch(0, `{"region":"us"}`); err != nil || got.Version != 3 {
		t.Errorf("no change made version %d, %v", got.Version, err)
	}
	for _, bad := range []string{`{"ship":1}`, `{"age":"x"}`, `{"paid":1}`, `{"since":"2026-02-30"}`, `{"region":"mars"}`, `{"none":1}`, `[]`, `"x"`} {
		if _, err := patch(0, bad); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for i := range 6 {
		f := vezechat.TicketField{Key: fmt.Sprint("long", i), Name: "Long", Type: vezechat.FieldText}
		if _, err := w.PutTicketField(ctx, vezechat.PutTicketField{Caller: w.boss, Field: f}); err != nil {
			t.Fatal(err)
		}
		_, err = patch(0, `{"`+f.Key+`":"`+strings.Repeat("🚀", vezechat.MaxFieldText)+`"}`)
	}
	wantCode(t, err, vezechat.CodeTooLarge)
	if _, err = patch(0, `{"region":null}`); err != nil {
		t.Fatal(err)
	}
	_, err = w.move(w.staff, tk.ID, vezechat.MoveSolve)
	wantCode(t, err, vezechat.CodeBadRequest)
	w.mustMove(w.ann, tk.ID, vezechat.MoveSolve) // its requester need not know of fields
}

// What happens between two versions is seen by one of two who change the same one.
func TestPatchTicket_OneOfTwoWins(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	tk := w.ticket(w.ann, "x")
	errs := make(chan error)
	for i := range 8 {
		go func() {
			r := vezechat.PatchTicket{TicketRef: tref(w.staff, tk.ID), Tags: &[]string{fmt.Sprint("t", i)}}
			r.Version = 1
			_, err := w.PatchTicket(t.Context(), r)
			errs <- err
		}()
	}
	won := 0
	for range 8 {
		switch err := <-errs; vezechat.CodeOf(err) {
		case "":
			won++
		case vezechat.CodeConflict:
		default:
			t.Error(err)
		}
	}
	if got := w.get(tk.ID); won != 1 || got.Version != 2 || len(got.Tags) != 1 {
		t.Errorf("%d won, version %d, tags %v", won, got.Version, got.Tags)
	}
}
