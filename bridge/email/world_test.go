package email_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/email"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// world is a hub's storage, whose log the test writes by hand, and a mail service.
type world struct {
	*postgres.Store
	t    *testing.T
	url  string
	pool *pgxpool.Pool // to look at tables
	mail *service
	mu   sync.Mutex // guards seq: it is held while the log is written
	seq  vezechat.Seq

	ann, agent, boss vezechat.Caller
}

func newWorld(t *testing.T) *world {
	t.Helper()
	url := pgtest.URL(t)
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
	must(t, err)
	t.Cleanup(s.Close)
	pool, err := pgxpool.New(t.Context(), url)
	must(t, err)
	t.Cleanup(pool.Close)
	w := &world{Store: s, t: t, url: url, pool: pool, mail: newService(t)}
	w.ann = w.user("ann")
	w.agent = w.user("agent", vezechat.ScopeTicketManage)
	w.boss = w.user("boss", vezechat.ScopeChatAdmin)
	_, err = s.PutAgent(t.Context(), vezechat.PutAgent{Caller: w.boss, ID: w.agent.UserID, CanReply: true, Capacity: 100})
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) user(handle string, more ...vezechat.Scope) vezechat.Caller {
	w.t.Helper()
	u, err := w.EnsureUser(w.t.Context(), vezechat.Identity{Issuer: "test", Subject: handle, Handle: handle, Email: handle + "@mail.example", EmailVerified: true})
	must(w.t, err)
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}, more...)}
}

// append stores events as the persister would, and carries on what comes of them.
func (w *world) append(events ...vezechat.Event) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var recs []vezechat.Record
	for i := range events {
		e := &events[i]
		recs = append(recs, vezechat.Record{Subject: vezechat.SubjectOf(e), ID: fmt.Sprint("said-", w.seq, "-", i), Payload: vezechat.AppendEvent(nil, e)})
	}
	for {
		w.apply(recs)
		n, err := w.DrainInbox(w.t.Context(), 100)
		must(w.t, err)
		box, err := w.Outbox(w.t.Context(), 0, 500)
		must(w.t, err)
		if n == 0 && len(box) == 0 {
			return
		}
		recs = nil
		for _, e := range box {
			recs = append(recs, vezechat.Record{Subject: e.Subject, ID: e.ID, Payload: e.Payload})
		}
	}
}

// apply is called with mu held.
func (w *world) apply(recs []vezechat.Record) {
	w.t.Helper()
	after := w.seq
	for i := range recs {
		w.seq++
		recs[i].Seq = w.seq
	}
	must(w.t, w.Apply(w.t.Context(), "e1", after, recs))
}

func (w *world) ticket(by vezechat.Caller, subject string) vezechat.Ticket {
	w.t.Helper()
	tk, err := w.CreateTicket(w.t.Context(), vezechat.CreateTicket{Caller: by, Subject: subject})
	must(w.t, err)
	w.append()
	tk, err = w.Ticket(w.t.Context(), vezechat.TicketRef{Caller: w.agent, TicketID: tk.ID})
	must(w.t, err)
	return tk
}

func (w *world) say(by vezechat.Caller, room vezechat.RoomID, text string) vezechat.MessageID {
	w.t.Helper()
	e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: room, UserID: by.UserID, Handle: by.Handle, Text: text, At: time.Now()}
	if by.Desk() {
		e.Flags = []string{vezechat.FlagStaff}
	}
	w.append(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	var id vezechat.MessageID
	must(w.t, w.pool.QueryRow(w.t.Context(), `SELECT max(message_id) FROM messages WHERE room_id = $1`, room).Scan(&id))
	return id
}

// config is that of a role which does not wait long for anything.
func (w *world) config() email.Config {
	sender, err := email.NewHTTPSender(w.mail.server.URL, "secret")
	must(w.t, err)
	w.t.Cleanup(sender.Close)
	return config(w.Store, sender)
}

func config(store email.Store, sender email.Sender) email.Config {
	return email.Config{
		Store: store, Sender: sender, From: "Support <support@hub.example>", PublicURL: "https://hub.example/chat/", ReplyDomain: "reply.example",
		Signer: vezechat.NewEmailSigner([]byte("a key of the tests")),
		Quiet:  50 * time.Millisecond, Timeout: 300 * time.Millisecond, First: 20 * time.Millisecond, Last: 200 * time.Millisecond, Poll: 5 * time.Millisecond,
	}
}

// run runs a role until the test ends, or stop is called.
func (w *world) run(cfg email.Config) (stop func()) {
	w.t.Helper()
	r, err := email.New(cfg)
	must(w.t, err)
	_, err = w.CollectEmails(w.t.Context(), cfg.Quiet, 1) // what happened before e-mails were on is not told
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, func() {}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// delivery is an e-mail that the service took. A repetition of its key is none.
type delivery struct {
	From      string            `json:"from"`
	To        []string          `json:"to"`
	ReplyTo   string            `json:"reply_to"`
	Subject   string            `json:"subject"`
	Text      string            `json:"text"`
	HTML      string            `json:"html"`
	MessageID string            `json:"message_id"`
	Headers   map[string]string `json:"headers"`

	at  time.Time
	raw string
}

// service is a mail service that keeps to Idempotency-Key, and fails as it is told.
type service struct {
	t      *testing.T
	server *httptest.Server
	done   chan struct{}

	mu    sync.Mutex // guards below
	rnd   *rand.Rand // nil: it behaves
	fails func(calls int) int
	calls int
	again int // calls with a key that was taken before
	taken map[string]*delivery
	order []*delivery
}

func newService(t *testing.T) *service {
	s := &service{t: t, taken: map[string]*delivery{}, done: make(chan struct{})}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	t.Cleanup(func() { close(s.done) })
	return s
}

// ServeHTTP takes an e-mail, or fails before it has, or after.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	key := r.Header.Get("Idempotency-Key")
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/jmap/send" || key == "" || r.Header.Get("Authorization") != "Bearer secret" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.calls++
	fate, calls := 99, s.calls
	if s.rnd != nil {
		fate = s.rnd.IntN(12)
	}
	fails := s.fails
	s.mu.Unlock()
	if fails != nil {
		if st := fails(calls); st != 0 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(st)
			_, _ = w.Write([]byte("no\r\nX-Injected: yes"))
			return
		}
	}
	switch fate {
	case 0:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case 1:
		s.reset(w)
		return
	case 2:
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	s.take(key, raw)
	switch fate {
	case 3:
		w.WriteHeader(http.StatusBadGateway)
	case 4:
		s.reset(w)
	case 5: // the answer comes too late
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

func (s *service) take(key string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.taken[key]; d != nil {
		s.again++
		if d.raw != string(raw) {
			s.t.Errorf("the key %s came with another e-mail:\n%s\nbefore:\n%s", key, raw, d.raw)
		}
		return
	}
	d := &delivery{at: time.Now(), raw: string(raw)}
	if err := json.Unmarshal(raw, d); err != nil {
		s.t.Errorf("%v in %s", err, raw)
	}
	s.taken[key], s.order = d, append(s.order, d)
}

func (s *service) reset(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		c.Close()
	}
}

// mails are those that were taken.
func (s *service) mails() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []delivery
	for _, d := range s.order {
		out = append(out, *d)
	}
	return out
}

func (s *service) behave(fails func(int) int, rnd *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.rnd = fails, rnd
}
