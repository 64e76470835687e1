package bus

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"vezeuniqverse.com/vezechat"
)

// Beat tells everyone that a role is alive, and how far it is.
func (b *Bus) Beat(role string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	return b.live.Publish(vezechat.BeatSubject(role), data)
}

// OnBeat calls fn with each beat of a role that can be read as a T, one at a
// time, until stop is called.
func OnBeat[T any](b *Bus, role string, fn func(T)) (stop func(), err error) {
	sub, err := b.read.Subscribe(vezechat.BeatSubject(role), func(m *nats.Msg) {
		var v T
		if err := json.Unmarshal(m.Data, &v); err != nil {
			b.log.Warn("unreadable beat", "role", role, "err", err)
			return
		}
		fn(v)
	})
	if err != nil {
		return nil, fmt.Errorf("hear beats: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Wake tells routers that there is something to do. Lost when the connection is away.
func (b *Bus) Wake(w vezechat.Wake) {
	if err := b.live.Publish(vezechat.WakeSubject(w), nil); err != nil {
		b.log.Debug("wake not sent", "error", err)
	}
}

// wakeQueue is the group of routers that share wakes: one is enough for most.
const wakeQueue = "routers"

// Wakes hands each wake to one of those who listen, and that of settings to all,
// until stop is called. fn must not block; it is not called any more when stop has
// returned.
func (b *Bus) Wakes(fn func(vezechat.Wake)) (stop func(), err error) {
	var mu sync.Mutex // fn is not called behind stop
	stopped := false
	handle := func(shared bool) nats.MsgHandler {
		return func(m *nats.Msg) {
			w, ok := vezechat.ParseWake(m.Subject)
			if !ok || shared == (w.Kind == vezechat.WakeDesk) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if !stopped {
				fn(w)
			}
		}
	}
	one, err := b.read.QueueSubscribe(vezechat.SubjectWakes, wakeQueue, handle(true))
	if err != nil {
		return nil, unavailable(err, "cannot listen to wakes now")
	}
	all, err := b.read.Subscribe(vezechat.SubjectWakeDesk, handle(false))
	if err != nil {
		_ = one.Unsubscribe() // the connection has closed
		return nil, unavailable(err, "cannot listen to wakes now")
	}
	return func() {
		_ = one.Unsubscribe() // an error means that the connection has closed
		_ = all.Unsubscribe()
		mu.Lock()
		defer mu.Unlock()
		stopped = true
	}, nil
}
