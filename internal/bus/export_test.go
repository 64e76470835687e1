package bus

import (
	"context"

	"vezeuniqverse.com/vezechat"
)

// LastBefore goes on from what a replica that is behind has answered.
func (b *Bus) LastBefore(ctx context.Context, subject string, prev, seq vezechat.Seq) (vezechat.Seq, error) {
	return b.lastBefore(ctx, subject, prev, seq)
}
