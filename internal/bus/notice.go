package bus

import (
	"encoding/json"

	"github.com/nats-io/nats.go"

	"vezeuniqverse.com/vezechat"
)

// Notice tells all edges what a moderator has done. Lost when the connection is away.
func (b *Bus) Notice(n vezechat.ModNotice) {
	data, err := json.Marshal(n)
	if err == nil {
		err = b.live.Publish(vezechat.SubjectModeration, data)
	}
	if err != nil {
		b.log.Warn("edges are not told of what a moderator did, and find it later", "error", err)
	}
}

// OnNotice calls fn with each notice, one at a time, until stop is called.
func (b *Bus) OnNotice(fn func(vezechat.ModNotice)) (stop func(), err error) {
	sub, err := b.read.Subscribe(vezechat.SubjectModeration, func(m *nats.Msg) {
		var n vezechat.ModNotice
		if err := json.Unmarshal(m.Data, &n); err != nil {
			b.log.Warn("unreadable notice of a moderator", "err", err)
			return
		}
		fn(n)
	})
	if err != nil {
		return nil, unavailable(err, "cannot listen to moderators now")
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
