package bus

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/nats-io/nats.go"

	"vezeuniqverse.com/vezechat"
)

// CallBot asks a bot that listens on NATS to carry out a command, and waits for its
// answer until ctx ends. CodeUnavailable: nobody listens, or answers in time with JSON of
// the right form.
func (b *Bus) CallBot(ctx context.Context, bot vezechat.UserID, call vezechat.CommandCall) (r vezechat.CommandReply, err error) {
	data, err := json.Marshal(call)
	if err != nil {
		return r, vezechat.WrapError(vezechat.CodeInternal, err, "unreadable call")
	}
	ask := &nats.Msg{Subject: vezechat.BotSubject(bot, call.Command), Data: data, Header: nats.Header{}}
	setTrace(ask.Header, call.Trace)
	m, err := b.read.RequestMsgWithContext(ctx, ask)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return r, unavailable(err, "the bot is not there")
	case err != nil:
		return r, unavailable(err, "the bot does not answer")
	}
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return r, unavailable(err, "the bot's answer cannot be read")
	}
	return r, nil
}

// Whisper tells all edges what a bot says to one person. Lost when the connection is away.
func (b *Bus) Whisper(e vezechat.Ephemeral) {
	data, err := json.Marshal(e)
	if err == nil {
		err = b.live.Publish(vezechat.SubjectWhisper, data)
	}
	if err != nil {
		b.log.Debug("what a bot says to one person is not told to other edges", "err", err)
	}
}

// OnWhisper calls fn with what bots say to one person, one at a time, until stop is
// called.
func (b *Bus) OnWhisper(fn func(vezechat.Ephemeral)) (stop func(), err error) {
	sub, err := b.read.Subscribe(vezechat.SubjectWhisper, func(m *nats.Msg) {
		var e vezechat.Ephemeral
		if err := json.Unmarshal(m.Data, &e); err != nil {
			b.log.Warn("what a bot says to one person cannot be read", "err", err)
			return
		}
		fn(e)
	})
	if err != nil {
		return nil, unavailable(err, "cannot listen to bots now")
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
