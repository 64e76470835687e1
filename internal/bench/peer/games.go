package peer

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

const (
	gamesStep    = 10 * time.Millisecond
	gamesPending = 4096 // lines that are not acknowledged yet; then the servers wait
	bridgeTakes  = time.Minute
)

// Games are the servers of many matches. They open them, wait until the bridge has taken
// that, and say that they are ready; then each match's lines come in turn, so many a
// second in all, until ctx is done. Rate 0: none.
func Games(ctx context.Context, url string, matches int, rate float64, ready func(string)) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(gamesPending))
	if err != nil {
		return err
	}
	for i := range matches {
		if _, err := js.Publish(ctx, matchSubject(i), []byte(`{"type":"match.opened"}`)); err != nil {
			return err
		}
	}
	if err := taken(ctx, js); err != nil {
		return err
	}
	ready(url)
	tick := time.NewTicker(gamesStep)
	defer tick.Stop()
	began, said := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * rate); said < due; said++ {
			m := nats.NewMsg(matchSubject(said % matches))
			m.Data = fmt.Appendf(nil, `{"type":"killfeed","actor":"player %d","actor_team":"CT","victim":"player %d","victim_team":"TERRORIST","weapon":"deagle"}`, said%32, said%31)
			m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%d-%d", began.UnixNano(), said))
			if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(bridgeTakes)); err != nil {
				return err
			}
		}
	}
}

func matchSubject(i int) string { return fmt.Sprintf("%s.bench.m%d", vezechat.GameSubjects, i) }

// taken waits until nothing waits for the bridge.
func taken(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, bridgeTakes)
	defer cancel()
	for {
		st, err := js.Stream(ctx, vezechat.StreamGame)
		if err != nil {
			return err
		}
		if st.CachedInfo().State.Msgs == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the bridge does not take what %d matches say: %w", st.CachedInfo().State.Msgs, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
