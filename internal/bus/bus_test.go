package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natsd"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func entry(room vezechat.RoomID, id string) vezechat.Entry {
	return vezechat.Entry{Subject: vezechat.RoomSubject(room), ID: id, Payload: []byte(`{"n":"` + id + `"}`)}
}

func mustAppend(t *testing.T, b *bus.Bus, room vezechat.RoomID, id string) vezechat.Seq {
	t.Helper()
	ack, err := b.Append(t.Context(), entry(room, id))
	if err != nil {
		t.Fatal(err)
	}
	return ack.Seq
}

func TestAppend_RepeatedIDIsOneRecord(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	first, err := b.Append(t.Context(), entry(1, "1:1:a"))
	if err != nil || first.Seq != 1 || first.Duplicate {
		t.Fatalf("first append: %+v, %v", first, err)
	}
	again, err := b.Append(t.Context(), entry(1, "1:1:a"))
	if err != nil || again.Seq != first.Seq || !again.Duplicate {
		t.Fatalf("second append: %+v, %v", again, err)
	}
	if s, err := b.State(t.Context()); err != nil || s.Last != 1 || s.Epoch == "" {
		t.Fatalf("state: %+v, %v", s, err)
	}
}

func TestAppend_TooLarge(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	e := entry(1, "x")
	e.Payload = make([]byte, vezechat.MaxPayload+1)
	if _, err := b.Append(t.Context(), e); vezechat.CodeOf(err) != vezechat.CodeTooLarge {
		t.Fatalf("err = %v", err)
	}
	e.Payload = e.Payload[:vezechat.MaxPayload]
	if _, err := b.Append(t.Context(), e); err != nil {
		t.Fatalf("the largest payload: %v", err)
	}
}

// A log that goes away in the middle of an append is waited for, and what was
// sent twice is kept once.
func TestAppend_OutlastsTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startAt(t, dir, "127.0.0.1:0")
	addr := strings.TrimPrefix(srv.ClientURL(), "nats://")
	b := connect(t, srv.ClientURL())
	if err := b.Setup(t.Context(), bus.Streams{}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, b, 1, "before")
	srv.Shutdown()
	done := make(chan error, 1)
	go func() {
		_, err := b.Append(t.Context(), entry(1, "during"))
		done <- err
	}()
	srv = startAt(t, dir, addr)
	defer srv.Shutdown()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var s vezechat.LogState
	until(t, func() bool { // the reading connection comes back by itself, perhaps later
		var err error
		s, err = b.State(t.Context())
		return err == nil
	})
	if s.Last != 2 {
		t.Fatalf("state %+v", s)
	}
}

func TestAppend_GivesUpHonestly(t *testing.T) {
	t.Parallel()
	srv := startAt(t, t.TempDir(), "127.0.0.1:0")
	b := connect(t, srv.ClientURL())
	srv.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := b.Append(ctx, entry(1, "x"))
	if e := vezechat.AsError(err); e.Code != vezechat.CodeUnavailable || e.RetryAfter == 0 {
		t.Fatalf("err = %v", err)
	}
}

func startAt(t *testing.T, dir, addr string) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(t.Context(), natsd.Options{Dir: dir, Listen: addr, Log: natstest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func connect(t *testing.T, url string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{URL: url, Name: "test", Log: natstest.Log(t), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestHas(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	mustAppend(t, b, 11, "a")
	for room, want := range map[vezechat.RoomID]bool{11: true, 1: false, 111: false} {
		if got, err := b.Has(t.Context(), vezechat.RoomSubject(room)); got != want || err != nil {
			t.Errorf("room %d: %v, %v", room, got, err)
		}
	}
}

// A log from before agents had events takes them once the hub has started anew,
// and keeps what it has.
func TestSetup_ALogOfBeforeTakesAgents(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	first := mustAppend(t, b, 1, "a")
	st, err := b.JetStream().Stream(t.Context(), vezechat.StreamChat)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Subjects = []string{vezechat.SubjectRooms, vezechat.SubjectTickets}
	if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	before, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Setup(t.Context(), bus.Streams{}); err != nil {
		t.Fatal(err)
	}
	e := vezechat.Event{Type: vezechat.EventAgentStatus, UserID: 4, Status: string(vezechat.AgentAway), At: time.Now()}
	ack, err := b.Append(t.Context(), vezechat.Entry{Subject: vezechat.SubjectOf(&e), ID: "x", Payload: vezechat.AppendEvent(nil, &e)})
	if err != nil || ack.Seq != first+1 {
		t.Fatalf("%+v, %v", ack, err)
	}
	if after, err := b.State(t.Context()); err != nil || after.Epoch != before.Epoch || after.First != before.First {
		t.Errorf("the log was %+v, is %+v, %v", before, after, err)
	}
}

func TestDirect(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for i := range 20 {
		mustAppend(t, b, vezechat.RoomID(1+i%2), strconv.Itoa(i)) // room 1: 1,3,5…; room 2: 2,4,6…
	}
	got, err := b.After(t.Context(), vezechat.RoomSubject(1), 4, 3)
	if err != nil || len(got) != 3 || got[0].Seq != 5 || got[2].Seq != 9 || got[0].ID != "4" {
		t.Fatalf("After: %+v, %v", got, err)
	}
	if got, err := b.After(t.Context(), vezechat.RoomSubject(1), 19, 3); err != nil || len(got) != 0 {
		t.Fatalf("After the end: %+v, %v", got, err)
	}
	heads, err := b.Heads(t.Context(), []string{vezechat.RoomSubject(1), vezechat.RoomSubject(2), vezechat.RoomSubject(3)})
	if err != nil || len(heads) != 2 || heads[vezechat.RoomSubject(1)] != 19 || heads[vezechat.RoomSubject(2)] != 20 {
		t.Fatalf("Heads: %v, %v", heads, err)
	}
	for seq, want := range map[vezechat.Seq]vezechat.Seq{1: 0, 2: 1, 3: 1, 19: 17, 20: 19} {
		if prev, err := b.PrevOf(t.Context(), vezechat.RoomSubject(1), seq); err != nil || prev != want {
			t.Errorf("PrevOf %d = %d, %v; want %d", seq, prev, err, want)
		}
	}
	if r, err := b.At(t.Context(), 7); err != nil || r.ID != "6" {
		t.Fatalf("At: %+v, %v", r, err)
	}
	if _, err := b.At(t.Context(), 70); vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Fatalf("At beyond the end: %v", err)
	}
}

type seen struct {
	mu     sync.Mutex
	events []string
	soft   []string
	lost   []string
	desk   []string
}

func (s *seen) Event(room vezechat.RoomID, seq, prev vezechat.Seq, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, fmt.Sprintf("%d:%d<%d", room, seq, prev))
}

func (s *seen) Soft(room vezechat.RoomID, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.soft = append(s.soft, fmt.Sprintf("%d:%s", room, payload))
}

func (s *seen) DeskEvent(subject string, seq, prev vezechat.Seq, _ []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desk = append(s.desk, fmt.Sprintf("%s:%d<%d", subject, seq, prev))
}

func (s *seen) Discontinuity(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = append(s.lost, reason)
}

func (s *seen) has(events, soft []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Equal(s.events, events) && slices.Equal(s.soft, soft)
}

func TestLive_ChainOfOneRoom(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	var s seen
	l := b.Live(&s, 4, false)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	mustAppend(t, b, 7, "unheard")
	if err := errors.Join(l.Join(7), l.Join(7)); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, b, 7, "a")
	mustAppend(t, b, 8, "another room")
	mustAppend(t, b, 7, "b")
	if err := b.Soft(7, []byte("typing")); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return s.has([]string{"7:2<1", "7:4<2"}, []string{"7:typing"}) })
	l.Leave(7)
	mustAppend(t, b, 7, "c")
	if err := l.Join(8); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, b, 8, "d")
	until(t, func() bool { return s.has([]string{"7:2<1", "7:4<2", "8:6<3"}, []string{"7:typing"}) })
}

// A publisher's own Nats-Sequence stands in front of the server's: the last value
// counts (nats.rs#1239).
func TestLive_ForgedHeader(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	var s seen
	l := b.Live(&s, 1, false)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	if err := l.Join(7); err != nil {
		t.Fatal(err)
	}
	_, err := b.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: vezechat.RoomSubject(7), Data: []byte("{}"),
		Header: nats.Header{"Nats-Sequence": {"999999"}, "Nats-Last-Sequence": {"999998"}}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return s.has([]string{"7:1<0"}, nil) })
}

type question struct{ Name string }
type answer struct{ Text string }

func TestCall(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	s, err := b.Serve("test", "1.0.0", 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	err = bus.Handle(s, "test", "greet", func(ctx context.Context, q question) (answer, error) {
		switch q.Name {
		case "panic":
			panic("as asked")
		case "slow":
			<-ctx.Done()
			return answer{}, ctx.Err()
		case "refused":
			return answer{}, vezechat.Errorf(vezechat.CodeRateLimited, "slow down").RetryIn(3 * time.Second)
		case "defect":
			return answer{}, errors.New("secret detail")
		}
		return answer{"hello " + q.Name}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		want vezechat.Code
	}{{"pilot", ""}, {"panic", vezechat.CodeInternal}, {"slow", vezechat.CodeUnavailable}, {"refused", vezechat.CodeRateLimited}, {"defect", vezechat.CodeInternal}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			within := 20 * time.Second
			if tt.name == "slow" {
				within = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			a, err := bus.Call[question, answer](ctx, b, "test", "greet", question{tt.name})
			if vezechat.CodeOf(err) != tt.want {
				t.Fatalf("err = %v", err)
			}
			if err == nil && a.Text != "hello pilot" {
				t.Fatalf("answer %+v", a)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Fatalf("the cause left the process: %v", err)
			}
			if tt.name == "refused" && vezechat.AsError(err).RetryAfter != 3*time.Second {
				t.Fatalf("retry after %v", vezechat.AsError(err).RetryAfter)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		if _, err := bus.Call[question, answer](t.Context(), b, "test", "absent", question{}); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
			t.Fatalf("err = %v", err)
		}
	})
}

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// An answer that NATS is no longer there to take used to be logged as a defect of
// ours.
func TestCall_AnswerWithoutConnection(t *testing.T) {
	t.Parallel()
	srv := natstest.Server(t)
	var log lines
	b, err := bus.Connect(t.Context(), bus.Config{
		URL: srv.ClientURL(), Name: "test", Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	s, err := b.Serve("test", "1.0.0", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	err = bus.Handle(s, "test", "greet", func(context.Context, question) (answer, error) {
		srv.Shutdown()
		until(t, func() bool { return strings.Contains(log.String(), "purpose=read") }) // both connections are told apart in the log
		return answer{"too late"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := bus.Call[question, answer](ctx, b, "test", "greet", question{}); err == nil {
		t.Fatal("there was an answer without a connection")
	}
	until(t, func() bool { return strings.Contains(log.String(), "answer not sent") })
	if strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("logged:\n%s", log.String())
	}
}

// An answer that a killed process owes is given by the next one.
func TestAsk_AgainWhenAnAnswerStaysOut(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	s, err := b.Serve("test", "1.0.0", 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	var asked atomic.Int32
	end := make(chan struct{})
	t.Cleanup(func() { close(end) }) // before s is closed
	if err := bus.Handle(s, "test", "once", func(context.Context, question) (answer, error) {
		if asked.Add(1) == 1 {
			<-end // as good as killed
		}
		return answer{"here"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	a, err := bus.Ask[question, answer](t.Context(), b, "test", "once", question{})
	if err != nil || a.Text != "here" || asked.Load() != 2 {
		t.Fatalf("%+v, %v, asked %d times", a, err, asked.Load())
	}
}

// More requests than workers and queue are refused, none is lost.
func TestCall_Full(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	s, err := b.Serve("test", "1.0.0", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	open := make(chan struct{})
	if err := bus.Handle(s, "test", "wait", func(ctx context.Context, _ question) (answer, error) {
		<-open
		return answer{"done"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	const n = 12
	codes := make(chan vezechat.Code, n)
	for range n {
		go func() {
			_, err := bus.Call[question, answer](t.Context(), b, "test", "wait", question{})
			codes <- vezechat.CodeOf(err)
		}()
	}
	refused := 0
	for ; refused < n-5; refused++ {
		if c := <-codes; c != vezechat.CodeUnavailable {
			t.Fatalf("code %q", c)
		}
	}
	close(open)
	for range n - refused {
		if c := <-codes; c != "" {
			t.Fatalf("code %q", c)
		}
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("not in time")
		}
		time.Sleep(2 * time.Millisecond)
	}
}
