package edge_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

type openLog struct{}

func (openLog) Append(context.Context, vezechat.Entry) (vezechat.Ack, error) {
	return vezechat.Ack{Seq: 1}, nil
}

func TestBrake(t *testing.T) {
	t.Parallel()
	state := vezechat.LogState{First: 1, Last: 1000, Bytes: 900, MaxBytes: 1000, MaxAge: 48 * time.Hour}
	for _, tt := range []struct {
		name    string
		beat    vezechat.StorageBeat
		silence time.Duration
		state   vezechat.LogState
		refused bool
	}{
		{name: "up to date", beat: vezechat.StorageBeat{Stored: 1000}, state: state},
		{name: "behind, as it says itself", beat: vezechat.StorageBeat{Stored: 10, LagFraction: 0.8}, state: state, refused: true},
		{name: "behind, not too far", beat: vezechat.StorageBeat{Stored: 10, LagFraction: 0.7}, state: state},
		{name: "silent, and the log has filled", beat: vezechat.StorageBeat{Stored: 10}, silence: time.Minute, state: state, refused: true},
		{name: "silent, and the log is small", beat: vezechat.StorageBeat{Stored: 10}, silence: time.Minute, state: vezechat.LogState{First: 1, Last: 1000, Bytes: 90, MaxBytes: 1000, MaxAge: 48 * time.Hour}},
		{name: "silent for most of the log's age", beat: vezechat.StorageBeat{Stored: 10}, silence: 40 * time.Hour, state: vezechat.LogState{First: 1, Last: 11, Bytes: 1, MaxBytes: 1000, MaxAge: 48 * time.Hour}, refused: true},
		{name: "silent, with nothing to store", beat: vezechat.StorageBeat{Stored: 1000}, silence: 40 * time.Hour, state: state},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &clock{at: start}
			b := edge.NewBrake(openLog{}, prometheus.NewRegistry(), c.Now)
			b.Hear(tt.beat)
			c.Add(tt.silence)
			b.Look(tt.state)
			if err := b.Ready(); (err != nil) != (tt.silence > 0) {
				t.Errorf("after a silence of %s: %v", tt.silence, err)
			}
			_, err := b.Append(t.Context(), vezechat.Entry{})
			if refused := vezechat.CodeOf(err) == vezechat.CodeUnavailable; refused != tt.refused {
				t.Errorf("err = %v", err)
			}
			b.Hear(vezechat.StorageBeat{Stored: 1000})
			if _, err := b.Append(t.Context(), vezechat.Entry{}); err != nil {
				t.Errorf("after it has caught up: %v", err)
			}
		})
	}
}
