package email_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/email"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// noting is a store of which sent asks first whether it may note that an e-mail was sent.
type noting struct {
	*postgres.Store
	sent func() error
}

func (n noting) SentEmail(ctx context.Context, id vezechat.EmailID) error {
	if err := n.sent(); err != nil {
		return err
	}
	return n.Store.SentEmail(ctx, id)
}

// By SMTP nobody knows that an e-mail comes again. One that the server has is noted as
// sent, though storage is away in that moment, or the bridge is being stopped, and is not
// sent twice.
func TestRole_WhatIsSentIsNoted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		sent func(call int32, stop func()) error
	}{
		{"storage is away", func(call int32, _ func()) error {
			if call <= 4 {
				return vezechat.Errorf(vezechat.CodeUnavailable, "storage is away")
			}
			return nil
		}},
		{"the bridge is being stopped", func(_ int32, stop func()) error { stop(); return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server := newSMTPServer(t, false, true)
			sender, err := email.NewSMTPSender("smtps://"+server.addr, server.roots)
			must(t, err)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var calls atomic.Int32
			cfg := config(noting{w.Store, func() error { return c.sent(calls.Add(1), stop) }}, sender)
			cfg.Timeout = 2 * time.Second
			r, err := email.New(cfg)
			must(t, err)
			_, err = w.CollectEmails(t.Context(), 0, 1)
			must(t, err)
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx, func() {}) }()
			tk := w.ticket(w.ann, "a ticket")
			w.say(w.agent, tk.Room, "an update")
			until(t, "it is noted", func() bool {
				list, err := w.Emails(t.Context(), vezechat.EmailQuery{Caller: w.boss, State: vezechat.EmailSent})
				return err == nil && len(list) == 1
			})
			stop()
			must(t, <-done)
			if got := server.letters(); len(got) != 1 {
				t.Errorf("the server has it %d times", len(got))
			}
		})
	}
}
