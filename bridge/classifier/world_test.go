package classifier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/classifier"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/storage"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// engine is a service that misbehaves on command. It finds "vile" toxic, and "rude"
// somewhat.
type engine struct {
	*httptest.Server
	mu     sync.Mutex
	mode   string // ok, or how it misbehaves
	poison string // it fails at texts that have this; empty: at none
	asked  map[string]int
	bodies [][]byte
	failed int
}

func newEngine(t *testing.T) *engine {
	e := &engine{mode: "ok", asked: map[string]int{}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *engine) misbehave(mode string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mode, e.failed = mode, 0
}

func (e *engine) failures() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

func (e *engine) askedOf(text string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked[text]
}

func (e *engine) seen() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Join(e.bodies, nil)
}

// how notes a request, and says how it is answered.
func (e *engine) how(body []byte, text string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	mode := e.mode
	if e.poison != "" && strings.Contains(text, e.poison) {
		mode = "500"
	}
	if mode == "ok" {
		e.asked[text]++
		e.bodies = append(e.bodies, body)
	} else {
		e.failed++
	}
	return mode
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var q struct{ Message struct{ Text string } }
	if json.Unmarshal(body, &q) != nil || r.Method != http.MethodPost || r.URL.Path != "/npc_response" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	switch e.how(body, q.Message.Text) {
	case "ok":
		score := 0.1
		switch {
		case strings.Contains(q.Message.Text, "vile"):
			score = 0.97
		case strings.Contains(q.Message.Text, "rude"):
			score = 0.85
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"labels": []map[string]any{{"label": "toxic", "score": score}, {"label": "unheard-of", "score": 1}}})
	case "slow":
		<-r.Context().Done()
	case "500":
		w.WriteHeader(http.StatusInternalServerError)
	case "refuses":
		w.WriteHeader(http.StatusUnprocessableEntity)
	case "moved":
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	case "reset":
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close()
		}
	case "cut":
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"labels":[`)
	case "garbage":
		_, _ = io.WriteString(w, "<html>fine</html>")
	case "scoreless":
		_, _ = io.WriteString(w, `{"labels":[{"label":"toxic","score":17}]}`)
	case "huge":
		_, _ = io.WriteString(w, `{"labels":[`+strings.Repeat(" ", 1<<20)+`]}`)
	}
}

// world is a NATS server, a PostgreSQL with the storage role, and a service.
type world struct {
	t *testing.T
	svc.Client
	bus    *bus.Bus
	store  *postgres.Store
	engine *engine
	reg    *prometheus.Registry // of the classifier that was started last
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, bus: natstest.New(t), engine: newEngine(t)}
	var err error
	w.store, err = postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{InLog: w.bus.Has, Wake: w.bus.Wake})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.store.Close)
	s, err := svc.Serve(w.bus, "1.0.0", 8, svc.Services{
		Users: w.store, Rooms: w.store, Messages: w.store, Tickets: w.store, Desk: w.store, Support: w.store, Moderation: w.store, Classifier: w.store,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w.Client = svc.NewClient(w.bus)
	role := storage.New(storage.Config{Store: w.store, Reader: w.bus, Log: w.bus, Advancer: w.bus, Logger: natstest.Log(t)})
	w.background(func(ctx context.Context) error { return role.Run(ctx, func() {}) })
	return w
}

// background runs fn until the test ends, or stop is called.
func (w *world) background(fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// classify runs a classifier until the test ends, or stop is called.
func (w *world) classify(change ...func(*classifier.Config)) (stop func()) {
	w.t.Helper()
	w.reg = prometheus.NewRegistry()
	cfg := classifier.Config{
		URL: w.engine.URL, Queue: w.bus, Storage: w, Moderation: w, Timeout: 300 * time.Millisecond, Cooldown: 100 * time.Millisecond, Registerer: w.reg,
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := classifier.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	stop = w.background(func(ctx context.Context) error { return c.Run(ctx, func() {}) })
	w.until("the queue is there", func() bool {
		_, err := w.bus.JetStream().Consumer(w.t.Context(), vezechat.StreamChat, classifier.Queue)
		return err == nil
	})
	return stop
}

func (w *world) person(handle string, more ...vezechat.Scope) vezechat.Caller {
	w.t.Helper()
	scopes := append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}, more...)
	u, err := w.EnsureUser(w.t.Context(), vezechat.Identity{Issuer: "test", Subject: handle, Handle: handle, Scopes: scopes})
	if err != nil {
		w.t.Fatal(err)
	}
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: scopes}
}

func (w *world) guild(by vezechat.Caller, name string) vezechat.RoomID {
	w.t.Helper()
	r, err := w.CreateRoom(w.t.Context(), vezechat.CreateRoom{Caller: by, Name: name, Kind: vezechat.KindGuild})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

// say appends a message, as an edge does.
func (w *world) say(by vezechat.Caller, room vezechat.RoomID, text string) vezechat.MessageID {
	w.t.Helper()
	return w.append(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: room, UserID: by.UserID, Handle: by.Handle, Text: text, Nonce: text})
}

func (w *world) append(e vezechat.Event) vezechat.Seq {
	w.t.Helper()
	e.At = time.Now()
	ack, err := w.bus.Append(w.t.Context(), vezechat.Entry{Subject: vezechat.RoomSubject(e.RoomID), Payload: vezechat.AppendEvent(nil, &e)})
	if err != nil {
		w.t.Fatal(err)
	}
	return ack.Seq
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("it did not happen: %s", what)
		}
	}
}

// idle waits until everything in the log was judged or passed over.
func (w *world) idle() {
	w.t.Helper()
	w.until("all is judged", func() bool {
		n, err := w.bus.Waiting(w.t.Context(), classifier.Queue)
		return err == nil && n == 0
	})
}

// hidden are the events of the log that hid messages of a room.
func (w *world) hidden(room vezechat.RoomID) (list []vezechat.Event) {
	w.t.Helper()
	records, err := w.bus.After(w.t.Context(), vezechat.RoomSubject(room), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		if e, err := vezechat.ParseEvent(r.Payload); err == nil && e.Type == vezechat.EventMessageHidden {
			list = append(list, e)
		}
	}
	return list
}

// texts are what somebody reads of a room.
func (w *world) texts(by vezechat.Caller, room vezechat.RoomID) (list []string) {
	w.t.Helper()
	page, err := w.Messages(w.t.Context(), vezechat.History{RoomRef: vezechat.RoomRef{Caller: by, RoomID: room}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range page.Messages {
		list = append(list, m.Text)
	}
	return list
}

// count is a metric of the classifier with a label's value, or without labels.
func (w *world) count(name, value string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "vezechat_classifier_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if value == "" || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == value {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}
