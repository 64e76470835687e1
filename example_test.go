package vezechat_test

import (
	"context"
	"fmt"

	"vezeuniqverse.com/vezechat"
)

// A game server tells of a match. With nats.go, Request is
//
//	func(ctx context.Context, m vezechat.GameMessage) ([]byte, error) {
//		answer, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Payload})
//		if err != nil {
//			return nil, err
//		}
//		return answer.Data, nil
//	}
//
// over a connection of the game's user: nats.Connect("nats://cs16:secret@chat.example:4222").
func ExampleGamePublisher() {
	request := func(_ context.Context, m vezechat.GameMessage) ([]byte, error) { // here a hub that prints
		fmt.Println(m.Subject, string(m.Payload))
		return []byte(`{"stream":"GAME","seq":1}`), nil
	}
	p, err := vezechat.NewGamePublisher(vezechat.GamePublisherConfig{Game: "cs16", Match: "dust2-7", Request: request})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()

	for _, e := range []vezechat.GameEvent{
		{Type: vezechat.GameMatchOpened, Players: []vezechat.GamePlayer{{Handle: "@ace"}}},
		{Type: vezechat.GameKillfeed, Actor: "ace", Victim: "nova", Weapon: "awp"},
		{Type: vezechat.GameMatchClosed},
	} {
		if err := p.Publish(e); err != nil { // too many wait: the hub is away
			fmt.Println(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		fmt.Println(err)
	}
	stop()
	<-done
	// Output:
	// veze.game.cs16.dust2-7 {"type":"match.opened","players":[{"handle":"@ace"}]}
	// veze.game.cs16.dust2-7 {"type":"killfeed","actor":"ace","victim":"nova","weapon":"awp"}
	// veze.game.cs16.dust2-7 {"type":"match.closed"}
}
