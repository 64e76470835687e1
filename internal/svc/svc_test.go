package svc_test

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// finder finds, and lists, the largest page of the longest texts.
type finder struct {
	svc.Client
	text string
}

func (f finder) Search(context.Context, vezechat.Search) ([]vezechat.Message, error) {
	return f.page(), nil
}

func (f finder) Messages(context.Context, vezechat.History) (vezechat.MessagePage, error) {
	return vezechat.MessagePage{Messages: f.page()}, nil
}

func (f finder) page() []vezechat.Message {
	out := make([]vezechat.Message, vezechat.MaxPage)
	for i := range out {
		out[i] = vezechat.Message{ID: vezechat.Seq(vezechat.MaxPage - i), Text: f.text}
	}
	return out
}

// The longest results were above what NATS carries, and an internal error.
func TestServe_LargeAnswersAreCutAtTheFarEnd(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"two bytes a character": strings.Repeat("\u0436", vezechat.MaxText),
		"six bytes in JSON":     strings.Repeat("<", vezechat.MaxText),
		"escaped":               strings.Repeat("\"\n", vezechat.MaxText/2),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := natstest.New(t)
			m := finder{svc.NewClient(b), text}
			s, err := svc.Serve(b, "1.0.0", 2, svc.Services{Users: m, Rooms: m, Messages: m, Tickets: m, Desk: m, Support: m})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got, err := svc.NewClient(b).Search(t.Context(), vezechat.Search{Query: "x"})
			if err != nil || len(got) == 0 || got[0].ID != vezechat.MaxPage {
				t.Errorf("search: %d results, %v", len(got), err)
			}
			p, err := svc.NewClient(b).Messages(t.Context(), vezechat.History{After: 1})
			if err != nil || len(p.Messages) == 0 || p.Messages[0].ID != vezechat.MaxPage || !p.More {
				t.Errorf("history: %d messages, %v", len(p.Messages), err)
			}
		})
	}
}
