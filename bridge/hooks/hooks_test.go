package hooks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/hooks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// crowd is storage with many hooks, each of which has one event due.
type crowd struct {
	url string

	mu          sync.Mutex // guards below
	made, told  int
	outstanding int // the most claims that were not told of
	done        chan struct{}
}

const crowded = 60

func (w *crowd) ClaimHooks(_ context.Context, r vezechat.ClaimHooks) (out []vezechat.HookClaim, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range r.Max {
		if w.made == crowded {
			break
		}
		w.made++
		id := vezechat.HookID(w.made)
		out = append(out, vezechat.HookClaim{
			ID: id, Claim: 1, URL: w.url, Secrets: []string{vezechat.NewHookSecret()},
			Events: []vezechat.HookEvent{{Seq: 1, Payload: json.RawMessage(`{"type":"chat.message.created","room_id":1,"user_id":1,"handle":"@a","text":"x","at":"2026-11-23T12:00:00Z","seq":1,"prev":0}`)}},
		})
	}
	w.outstanding = max(w.outstanding, w.made-w.told)
	return out, nil
}

func (w *crowd) TellHook(_ context.Context, r vezechat.HookReport) (h vezechat.OutgoingHook, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(r.Results) != 1 || !r.Results[0].Delivered {
		return h, fmt.Errorf("not delivered: %+v", r)
	}
	if w.told++; w.told == crowded {
		close(w.done)
	}
	return vezechat.OutgoingHook{ID: r.ID, On: true}, nil
}

// A hook is claimed when there is somebody to deliver to it: its lease does not run while
// it waits for receivers of others that are slow.
func TestBridge_ClaimsWhatItCanDeliver(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(20 * time.Millisecond) // a slow receiver
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	client, err := hooks.NewClient([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w := &crowd{url: s.URL, done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		_ = hooks.New(hooks.Config{Work: w, Client: client, Every: time.Millisecond}).Run(ctx, func() {})
	})
	select {
	case <-w.done:
	case <-ctx.Done():
		t.Fatal("not all was delivered")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.outstanding > 16 {
		t.Errorf("%d hooks were claimed at once, and 16 are delivered to", w.outstanding)
	}
}
