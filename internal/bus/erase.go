package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

const erasePage = 500 // records that are read at a time

// Erase takes records out of the log, so that their bytes are overwritten (JetStream's
// secure delete): those up to a place that fn picks. It returns how many, also with an
// error; calling it again goes on. The log's end and its chain stay as they are, and
// readers pass over what is gone.
func (b *Bus) Erase(ctx context.Context, upto vezechat.Seq, fn func(vezechat.Record) bool) (n int, err error) {
	st, err := b.js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return 0, unavailable(err, "the log does not answer")
	}
	for _, subject := range logSubjects() {
		for after := vezechat.Seq(0); after < upto; {
			page, err := b.After(ctx, subject, after, erasePage)
			if err != nil || len(page) == 0 {
				if err != nil {
					return n, err
				}
				break
			}
			for _, r := range page {
				if after = r.Seq; r.Seq > upto || !fn(r) {
					continue
				}
				err := st.SecureDeleteMsg(ctx, uint64(r.Seq))
				if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) && b.gone(ctx, r.Seq) {
					continue // by another, or by its age
				}
				if err != nil {
					return n, unavailable(err, "the log does not delete what is erased")
				}
				n++
			}
		}
	}
	return n, nil
}

func (b *Bus) gone(ctx context.Context, seq vezechat.Seq) bool {
	_, err := b.At(ctx, seq)
	return vezechat.CodeOf(err) == vezechat.CodeNotFound
}
