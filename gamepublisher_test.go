package vezechat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// over publishes over a connection to NATS, as a game server does.
func over(nc *nats.Conn) func(context.Context, vezechat.GameMessage) ([]byte, error) {
	return func(ctx context.Context, m vezechat.GameMessage) ([]byte, error) {
		answer, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Payload})
		if err != nil {
			return nil, err
		}
		return answer.Data, nil
	}
}

// Events come into the stream of games once and in order, also when answers are lost and
// the server is away for a while.
func TestGamePublisher_OnceAndInOrder(t *testing.T) {
	t.Parallel()
	server := natstest.Server(t)
	natstest.Bus(t, server) // makes the streams
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var mu sync.Mutex
	calls := 0
	send := over(nc)
	p, err := vezechat.NewGamePublisher(vezechat.GamePublisherConfig{
		Game: "cs16", Match: "dust2", Pause: time.Millisecond,
		Trace: vezechat.Trace{Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", QNet: map[string]string{"X-Qnet-Hop": "7"}},
		Request: func(ctx context.Context, m vezechat.GameMessage) ([]byte, error) {
			mu.Lock()
			calls++
			n := calls
			mu.Unlock()
			if n%5 == 1 {
				return nil, errors.New("not sent")
			}
			answer, err := send(ctx, m)
			if n%3 == 0 {
				return nil, errors.New("the answer is lost")
			}
			return answer, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	const n = 100
	for i := range n {
		if err := p.Publish(vezechat.GameEvent{Type: vezechat.GameSay, Actor: "ace", Text: fmt.Sprintf("line %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil || p.Waiting() != 0 {
		t.Fatalf("%v, %d wait", err, p.Waiting())
	}
	cancel()
	wg.Wait()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), vezechat.StreamGame)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil || info.State.Msgs != n {
		t.Fatalf("the stream has %+v, %v: want %d", info.State, err, n)
	}
	for i := range n {
		m, err := stream.GetMsg(t.Context(), info.State.FirstSeq+uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		e, err := vezechat.ParseGameEvent(m.Data)
		if err != nil || e.Text != fmt.Sprintf("line %d", i) || m.Subject != "veze.game.cs16.dust2" || m.Header.Get("X-Qnet-Hop") != "7" {
			t.Errorf("%d: %+v %v %v", i, e, m.Header, err)
		}
	}
}

// The hub knows ids for two minutes: an event that is repeated later says so, and the
// next one does not.
func TestGamePublisher_LateRepetitionSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var said []string
		began, away := time.Now(), 5*time.Minute
		p, err := vezechat.NewGamePublisher(vezechat.GamePublisherConfig{Game: "cs16", Match: "m", Pause: 20 * time.Second,
			Request: func(_ context.Context, m vezechat.GameMessage) ([]byte, error) {
				late := time.Since(began)
				said = append(said, fmt.Sprint(late > time.Minute && late < away, len(m.Header[vezechat.HeaderGameRepeated]) > 0))
				if late < away {
					return nil, errors.New("the answer is lost")
				}
				return []byte(`{"stream":"GAME","seq":1}`), nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { p.Run(ctx) })
		for _, text := range []string{"one", "two"} {
			if err := p.Publish(vezechat.GameEvent{Type: vezechat.GameNotice, Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		// at 0, 20 and 60 s, at 140 and 300 s; and the other event
		if got := strings.Join(said, ", "); got != "false false, false false, false false, true true, false true, false false" {
			t.Errorf("the attempts: %s", got)
		}
	})
}

func TestGamePublisher_Refuses(t *testing.T) {
	t.Parallel()
	refuse := func(answer string) func(context.Context, vezechat.GameMessage) ([]byte, error) {
		return func(context.Context, vezechat.GameMessage) ([]byte, error) { return []byte(answer), nil }
	}
	if _, err := vezechat.NewGamePublisher(vezechat.GamePublisherConfig{Game: "cs 16", Match: "m", Request: refuse("")}); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Errorf("a bad name: %v", err)
	}
	if _, err := vezechat.NewGamePublisher(vezechat.GamePublisherConfig{Game: "cs16", Match: "m"}); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Errorf("no Request: %v", err)
	}
	var told error
	p, err := vezechat.NewGamePublisher(vezechat.GamePublisherConfig{
		Game: "cs16", Match: "m", Max: 2, Request: refuse(`{"error":{"code":400,"description":"too large"}}`),
		OnRefused: func(_ vezechat.GameEvent, why error) { told = why },
	})
	if err != nil {
		t.Fatal(err)
	}
	line := vezechat.GameEvent{Type: vezechat.GameNotice, Text: "round two"}
	if err := p.Publish(vezechat.GameEvent{Type: vezechat.GameSay}); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Errorf("an empty line: %v", err)
	}
	for i, want := range []vezechat.Code{"", "", vezechat.CodeRateLimited} {
		if err := p.Publish(line); vezechat.CodeOf(err) != want {
			t.Errorf("event %d: %v, want %q", i, err, want)
		}
	}
	if err := p.Flush(expired(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush while nobody runs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	if err := p.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	wg.Wait()
	if told == nil || !strings.Contains(told.Error(), "too large") {
		t.Errorf("why it was refused: %v", told)
	}
}

func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	t.Cleanup(cancel)
	return ctx
}
