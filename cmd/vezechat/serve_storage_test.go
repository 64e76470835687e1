package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// A storage process whose PostgreSQL was away at that moment used to end, and was
// started and ended again until PostgreSQL was back.
func TestPatiently_WaitsForPostgres(t *testing.T) {
	t.Parallel()
	h := &hub{log: slog.New(slog.DiscardHandler)}
	away := vezechat.WrapError(vezechat.CodeUnavailable, errors.New("connection refused"), "storage is away")
	malformed := vezechat.Errorf(vezechat.CodeBadRequest, "malformed")
	tests := []struct {
		name  string
		says  []error
		want  error
		calls int
	}{
		{"at once", []error{nil}, nil, 1},
		{"away, then there", []error{away, away, nil}, nil, 3},
		{"never right", []error{away, malformed}, malformed, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			err := h.patiently(t.Context(), "test", func(context.Context) error {
				calls++
				return tt.says[calls-1]
			})
			if !errors.Is(err, tt.want) || calls != tt.calls {
				t.Errorf("got %v after %d calls", err, calls)
			}
		})
	}
}

func TestPatiently_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := &hub{log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	err := h.patiently(ctx, "test", func(context.Context) error {
		cancel()
		return vezechat.Errorf(vezechat.CodeUnavailable, "away")
	})
	if err != nil {
		t.Errorf("got %v", err)
	}
}
