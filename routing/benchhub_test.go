package routing_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/storage"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// wholeHub is a log, storage and routers around a desk, and who reads the log.
type wholeHub struct {
	bus    *bus.Bus
	offers chan vezechat.TicketID // of offers, as they come out of the log
	said   int
}

// whole runs storage and two routers, each with connections of its own as in a hub, on a log
// until the benchmark ends.
func (w *world) whole(b *testing.B) *wholeHub {
	b.Helper()
	h := &wholeHub{bus: natstest.New(b), offers: make(chan vezechat.TicketID, 1000)}
	w.wakes, w.woken = h.bus, h.bus.Wake
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	var wg sync.WaitGroup
	b.Cleanup(func() { cancel(); wg.Wait() })
	ready := make(chan struct{})
	role := storage.New(storage.Config{Store: w.Store, Reader: h.bus, Log: h.bus, Advancer: h.bus, Registerer: prometheus.NewRegistry()})
	wg.Go(func() {
		if err := role.Run(ctx, sync.OnceFunc(func() { close(ready) })); err != nil {
			b.Error(err)
		}
	})
	<-ready
	wg.Go(func() {
		_ = h.bus.Read(ctx, 0, 100, func(recs []vezechat.Record) error { // ends with ctx
			for _, r := range recs {
				if vezechat.TypeOf(r.Payload) == vezechat.EventOfferMade {
					e, err := vezechat.ParseEvent(r.Payload)
					if err != nil {
						return err
					}
					h.offers <- e.TicketID
				}
			}
			return nil
		})
	})
	for range 2 {
		w.routeBy(w.routers(h.bus), 10*time.Second)
	}
	return h
}

// routers opens a router's store.
func (w *world) routers(log *bus.Bus) *postgres.Store {
	w.t.Helper()
	end := func(ctx context.Context) (vezechat.Seq, error) {
		st, err := log.State(ctx)
		return st.Last, err
	}
	s, err := postgres.Open(w.t.Context(), w.url, postgres.Options{MaxConns: 8, InLog: log.Has, LogEnd: end, Wake: log.Wake})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	return s
}

// say appends a message as an edge does.
func (h *wholeHub) say(b *testing.B, c vezechat.Caller, room vezechat.RoomID, text string) {
	b.Helper()
	h.said++
	e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: room, UserID: c.UserID, Handle: c.Handle, Text: text, At: time.Now().UTC(), Nonce: fmt.Sprint(h.said)}
	entry := vezechat.Entry{Subject: vezechat.RoomSubject(room), ID: fmt.Sprint("bench-", h.said), Payload: vezechat.AppendEvent(nil, &e)}
	if _, err := h.bus.Append(b.Context(), entry); err != nil {
		b.Fatal(err)
	}
}

func (h *wholeHub) until(b *testing.B, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatal("the desk does not come to rest within a minute")
		}
	}
}
