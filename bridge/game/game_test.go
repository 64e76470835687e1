package game_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/game"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// world is a NATS server, a PostgreSQL behind services, and a bridge.
type world struct {
	t     *testing.T
	bus   *bus.Bus
	log   *unsure
	judge func(string) vezechat.Judgement
	deaf  atomic.Bool // bridges are not told of rooms that are archived
	pool  *pgxpool.Pool
	svc.Client
}

// unsure is the log of a bridge that now and then does not hear whether something was
// kept, or does not get it there.
type unsure struct {
	vezechat.Log
	mu  sync.Mutex
	rnd *rand.Rand // nil: all is well
}

func (u *unsure) Append(ctx context.Context, e vezechat.Entry) (vezechat.Ack, error) {
	u.mu.Lock()
	n := 99
	if u.rnd != nil {
		n = u.rnd.IntN(10)
	}
	u.mu.Unlock()
	if n == 0 {
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeUnavailable, "it did not get there")
	}
	ack, err := u.Log.Append(ctx, e)
	if n == 1 {
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeUnavailable, "the answer was lost")
	}
	return ack, err
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, bus: natstest.New(t)}
	w.log = &unsure{Log: w.bus}
	url := pgtest.URL(t)
	store, err := postgres.Open(t.Context(), url, postgres.Options{InLog: w.bus.Has, Wake: w.bus.Wake, Notify: w.bus.Notice})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if w.pool, err = pgxpool.New(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Close)
	s, err := svc.Serve(w.bus, "1.0.0", 8, svc.Services{Users: store, Rooms: store, Messages: store, Tickets: store, Desk: store, Support: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w.Client = svc.NewClient(w.bus)
	return w
}

// bridge runs a bridge until the test ends, or stop is called.
func (w *world) bridge(change ...func(*game.Config)) (stop func()) {
	cfg := game.Config{Reader: w.bus, Log: w.log, Users: w, Rooms: w, Messages: w, Batch: 16, Judge: w.judge}
	for _, f := range change {
		f(&cfg)
	}
	b := game.New(cfg)
	unhear, err := w.bus.OnNotice(func(n vezechat.ModNotice) {
		if n.Archived != 0 && !w.deaf.Load() {
			b.Forget(n.Archived)
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, func() {}) }()
	stop = sync.OnceFunc(func() {
		unhear()
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) say(match, id, body string) {
	w.t.Helper()
	subject, err := vezechat.GameSubject("cs", match)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.bus.Append(w.t.Context(), vezechat.Entry{Subject: subject, ID: id, Payload: []byte(body)}); err != nil {
		w.t.Fatal(err)
	}
}

// lines are the texts in the log of every room, by room.
func (w *world) lines() map[vezechat.RoomID][]string {
	w.t.Helper()
	out := map[vezechat.RoomID][]string{}
	for id := vezechat.RoomID(1); id < 10; id++ {
		records, err := w.bus.After(w.t.Context(), vezechat.RoomSubject(id), 0, 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range records {
			if e, err := vezechat.ParseEvent(r.Payload); err == nil && e.Type == vezechat.EventMessageCreated {
				out[id] = append(out[id], e.Text)
			}
		}
	}
	return out
}

// dead are the reasons of the dead letters.
func (w *world) dead() (why []string) {
	w.t.Helper()
	st, err := w.bus.JetStream().Stream(w.t.Context(), vezechat.StreamDLQ)
	if err != nil {
		w.t.Fatal(err)
	}
	for seq := uint64(1); seq <= st.CachedInfo().State.LastSeq; seq++ {
		m, err := st.GetMsg(w.t.Context(), seq)
		var l vezechat.DeadLetter
		if err != nil || json.Unmarshal(m.Data, &l) != nil {
			w.t.Fatal(err, m)
		}
		why = append(why, l.Reason)
	}
	return why
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// What players say in a match is judged, what the game says is not; and what is blocked
// is nowhere, among the dead letters neither.
func TestBridge_Judges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.judge = func(text string) vezechat.Judgement {
		j := vezechat.Judgement{Verdict: vezechat.VerdictAllow, Text: text}
		switch {
		case strings.Contains(text, "kwaffel"):
			j.Verdict = vezechat.VerdictBlock
		case strings.Contains(text, "holdword"):
			j.Verdict = vezechat.VerdictHold
		case strings.Contains(text, "grobbel"):
			j.Verdict, j.Text = vezechat.VerdictRedact, strings.ReplaceAll(text, "grobbel", "*******")
		}
		return j
	}
	w.bridge()
	w.say("dust2", "1", `{"type":"match.opened"}`)
	for i, body := range []string{
		`{"type":"say","actor":"ann","text":"you kwaffel"}`, `{"type":"say","actor":"kwaffel","text":"hi"}`, `{"type":"say","actor":"ann","text":"a holdword"}`,
		`{"type":"say","actor":"ann","text":"you grobbel"}`, `{"type":"notice","text":"the kwaffel map"}`, `{"type":"say","actor":"ann","text":"the end"}`,
	} {
		w.say("dust2", fmt.Sprint("s", i), body)
	}
	var got []string
	until(t, "the last line", func() bool {
		for _, lines := range w.lines() {
			got = lines
		}
		return len(got) > 0 && got[len(got)-1] == "ann: the end"
	})
	if want := []string{"ann: you *******", "the kwaffel map", "ann: the end"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if dead, err := w.bus.After(t.Context(), vezechat.SubjectDLQ, 0, 10); err == nil && len(dead) > 0 {
		t.Errorf("%d dead letters", len(dead))
	}
}

// Each match has its lines once and in order, although bridges die, answers of the log
// are lost, and games publish again.
func TestBridge_OnceAndInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.rnd = rand.New(rand.NewPCG(1, 2))
	stop := w.bridge()
	const matches, each = 3, 60
	want := make([][]string, matches)
	for i := range each {
		for m := range matches {
			id, body := fmt.Sprintf("%d-%d", m, i), fmt.Sprintf(`{"type":"notice","text":"%d"}`, i)
			w.say(fmt.Sprint("m", m), id, body)
			if i%7 == 0 {
				w.say(fmt.Sprint("m", m), id, body)
			}
			want[m] = append(want[m], fmt.Sprint(i))
		}
		if i%20 == 19 { // it dies, and another one takes over
			stop()
			stop = w.bridge()
		}
	}
	total := func() (n int) {
		for _, l := range w.lines() {
			n += len(l)
		}
		return n
	}
	until(t, "all lines", func() bool { return total() >= matches*each })
	got := w.lines()
	if len(got) != matches || total() != matches*each {
		t.Errorf("%d lines in %d rooms", total(), len(got))
	}
	for room, lines := range got {
		if !slices.Equal(lines, want[0]) {
			t.Errorf("room %d: %v", room, lines)
		}
	}
}

// stored is what storage has: the message with a nonce, and nothing else.
type stored struct {
	vezechat.MessageService
	nonce string
}

func (s stored) MessageByNonce(_ context.Context, q vezechat.NonceRef) (vezechat.Message, error) {
	if q.Nonce != s.nonce {
		return vezechat.Message{}, vezechat.Errorf(vezechat.CodeNotFound, "no such message")
	}
	return vezechat.Message{ID: 1}, nil
}

// The log knows what it has for two minutes. What is older, or says that it is repeated,
// is looked for in what is stored, and is no line when it is there.
func TestBridge_LateRepetitions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		repeated bool
		later    time.Duration
		want     []string
	}{
		{"young", false, 0, []string{"known", "new"}},
		{"said to be repeated", true, 0, []string{"new"}},
		{"old", false, 2 * time.Minute, []string{"new"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.bridge(func(c *game.Config) {
				c.Messages, c.Clock = stored{w, "known"}, func() time.Time { return time.Now().Add(tt.later) }
			})
			for _, id := range []string{"known", "new"} {
				m := nats.NewMsg("veze.game.cs.m")
				m.Data = []byte(`{"type":"notice","text":"` + id + `"}`)
				m.Header.Set(nats.MsgIdHdr, id)
				if tt.repeated {
					m.Header.Set(vezechat.HeaderGameRepeated, "1")
				}
				if _, err := w.bus.JetStream().PublishMsg(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "the new line", func() bool { return slices.Contains(w.lines()[1], "new") })
			if got := w.lines()[1]; !slices.Equal(got, tt.want) {
				t.Errorf("lines %q, want %q", got, tt.want)
			}
		})
	}
}

// What no room can take is among the dead letters, with the reason, and holds up
// nothing.
func TestBridge_DeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bridge()
	for i, body := range []string{
		`not JSON`, `[]`, `{"type":"dance"}`, `{"type":"killfeed","actor":"Ann"}`, `{"type":"say","actor":"Ann","text":" \u0000 "}`, `{"type":"notice"}`,
		`{"type":"notice","text":"the only line"}`, `{"type":"match.closed"}`, `{"type":"match.closed"}`, `{"type":"notice","text":"too late"}`, `{"type":"match.opened"}`,
	} {
		w.say("m", fmt.Sprint(i), body)
	}
	var letters []vezechat.DeadLetter
	until(t, "eight dead letters", func() bool {
		letters = nil
		st, err := w.bus.JetStream().Stream(t.Context(), vezechat.StreamDLQ)
		if err != nil {
			t.Fatal(err)
		}
		for seq := uint64(1); seq <= st.CachedInfo().State.LastSeq; seq++ {
			m, err := st.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			var l vezechat.DeadLetter
			if m.Subject != "veze.dlq.game.game.cs.m" || json.Unmarshal(m.Data, &l) != nil {
				t.Fatalf("%s: %s", m.Subject, m.Data)
			}
			letters = append(letters, l)
		}
		return len(letters) >= 8
	})
	for _, l := range letters {
		if l.Reason == "" || l.Subject != "veze.game.cs.m" || len(l.Payload) == 0 {
			t.Errorf("%+v", l)
		}
	}
	if got := w.lines(); len(letters) != 8 || len(got) != 1 || len(got[1]) != 1 {
		t.Errorf("%d letters, lines %v", len(letters), got)
	}
}
