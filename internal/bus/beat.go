package bus

import (
	"encoding/json"
	"fmt"

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
