package postgres_test

import (
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestCreateTicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann := w.user("ann")
	tk, err := w.CreateTicket(ctx, vezechat.CreateTicket{Caller: ann, Subject: " Lost my ship ", Body: "where is it?", Tags: []string{"Ship"}, Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", tk)
	t.Log(w.outboxTypes())
}
