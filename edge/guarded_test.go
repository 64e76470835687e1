package edge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/guard"
)

// Words that the guards of these tests find, each with what follows.
const (
	blockedWord  = "kwaffel"
	heldWord     = "holdword"
	redactedWord = "grobbel"
	flaggedHost  = "odd.example"
)

func guardRules() vezechat.GuardRules {
	list := func(name string, s vezechat.Severity, words ...string) vezechat.WordList {
		return vezechat.WordList{Name: name, Language: "en", Label: name, Severity: s, Words: words}
	}
	all := vezechat.RoomVerdicts{
		Mild: vezechat.VerdictRedact, Strong: vezechat.VerdictHold, Severe: vezechat.VerdictBlock, Spam: vezechat.VerdictBlock, Links: vezechat.VerdictFlag,
	}
	return vezechat.GuardRules{
		Lists: []vezechat.WordList{list("a", vezechat.SeverityMild, redactedWord), list("b", vezechat.SeverityStrong, heldWord), list("c", vezechat.SeveritySevere, blockedWord)},
		Rooms: map[vezechat.RoomKind]vezechat.RoomVerdicts{
			vezechat.KindGlobal: all, vezechat.KindGuild: all, vezechat.KindParty: all, vezechat.KindDM: all, vezechat.KindSupport: all,
		},
		Spam:  vezechat.SpamLimits{Window: 10, Messages: 5, NewFor: 60, NewMessages: 2},
		Links: vezechat.LinkPolicy{Denied: []string{flaggedHost}},
		Classifier: &vezechat.ClassifierRules{Rooms: map[vezechat.RoomKind]vezechat.ClassifierMode{
			vezechat.KindGuild: vezechat.ClassifyAfter, vezechat.KindParty: vezechat.ClassifyBefore,
		}},
	}
}

// moderators are what a Poster tells them.
type moderators struct {
	vezechat.ModerationService

	mu      sync.Mutex // guards below
	held    []vezechat.HoldMessage
	flagged []vezechat.FlagMessage
	err     error
}

func (m *moderators) Hold(_ context.Context, h vezechat.HoldMessage) (vezechat.Held, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = append(m.held, h)
	return vezechat.Held{ID: 7}, m.err
}

func (m *moderators) Flag(_ context.Context, f vezechat.FlagMessage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flagged = append(m.flagged, f)
	return m.err
}

func (m *moderators) set(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// guardedDesk is a Poster with guards, and with moderators unless alone.
func guardedDesk(t *testing.T, l edge.Limits, alone bool) (*desk, *moderators) {
	t.Helper()
	g, err := guard.New(guardRules(), 100)
	must(t, err)
	d, m := &desk{clock: &clock{at: start}, reg: prometheus.NewRegistry()}, &moderators{}
	d.hub = newFakeHub(d.clock.Now)
	cfg := edge.PosterConfig{Log: d.hub, Rooms: d.hub, Messages: d.hub, Users: d.hub, Limits: l, Now: d.clock.Now, Registerer: d.reg, Guards: g}
	if !alone {
		cfg.Moderation = m
	}
	d.Poster = edge.NewPoster(cfg)
	t.Cleanup(func() { d.Settle(0) })
	return d, m
}

func TestPoster_GuardsDecide(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text    string
		staff, alone  bool
		code          vezechat.Code
		as            string // what is said
		held, flagged int
	}{
		{"allowed", "hello", false, false, "", "hello", 0, 0},
		{"blocked", "you k w a f f e l", false, false, vezechat.CodeBlockedContent, "", 0, 0},
		{"blocked, of staff", "you kwaffel", true, false, vezechat.CodeBlockedContent, "", 0, 0},
		{"redacted", "you grobbel", false, false, "", "you *******", 0, 0},
		{"redacted and flagged", "you grobbel: http://odd.example", false, false, "", "you *******: http://odd.example", 0, 1},
		{"not of staff", "you grobbel", true, false, "", "you grobbel", 0, 0},
		{"held", "a holdword here", false, false, vezechat.CodeBlockedContent, "", 1, 0},
		{"held, with no moderators", "a holdword here", false, true, vezechat.CodeBlockedContent, "", 0, 0},
		{"flagged", "see http://odd.example", false, false, "", "see http://odd.example", 0, 1},
		{"flagged, with no moderators", "see http://odd.example", false, true, "", "see http://odd.example", 0, 0},
	} {
		d, m := guardedDesk(t, edge.Limits{}, tt.alone)
		c := member(1)
		if tt.staff {
			c = member(1, vezechat.ScopeChatModerate)
		}
		ack, err := d.send(c, 2, tt.text, "n")
		wantCode(t, tt.name, err, tt.code)
		d.Settle(time.Minute)
		if err != nil && strings.Contains(err.Error(), "k w a f") {
			t.Errorf("%s: the refusal repeats the word: %v", tt.name, err)
		}
		if len(m.held) != tt.held || len(m.flagged) != tt.flagged {
			t.Errorf("%s: held %+v, flagged %+v", tt.name, m.held, m.flagged)
		}
		if tt.as == "" {
			if n := d.hub.appended(); n != 0 {
				t.Errorf("%s: %d events in the log", tt.name, n)
			}
			continue
		}
		if _, e := d.hub.last(); e.Text != tt.as || len(e.Flags) != 0 { // flags are the moderators' business
			t.Errorf("%s: said %q with %v", tt.name, e.Text, e.Flags)
		}
		if len(m.flagged) == 1 && (m.flagged[0].MessageID != ack.Seq || m.flagged[0].RoomID != 2 || m.flagged[0].UserID != 1 || len(m.flagged[0].Findings) == 0) {
			t.Errorf("%s: %+v", tt.name, m.flagged)
		}
	}
}

func TestPoster_HeldMessageIsKeptForModerators(t *testing.T) {
	t.Parallel()
	d, m := guardedDesk(t, edge.Limits{}, false)
	_, err := d.send(member(1), 2, "a holdword here", "n")
	var e *vezechat.Error
	if !errors.As(err, &e) || e.HeldID != 7 || len(m.held) != 1 || m.held[0].Text != "a holdword here" || m.held[0].Nonce != "n" || m.held[0].RoomID != 2 {
		t.Errorf("%+v %+v", err, m.held)
	}
	m.err = vezechat.Errorf(vezechat.CodeUnavailable, "away")
	_, err = d.send(member(1), 2, "a holdword here", "n2")
	wantCode(t, "when nobody keeps it", err, vezechat.CodeUnavailable)
	if d.hub.appended() != 0 {
		t.Error("it was said")
	}
}

// goneModerators do not answer until they are let to.
type goneModerators struct {
	vezechat.ModerationService
	asked chan vezechat.FlagMessage
	back  chan error
}

func (m *goneModerators) Flag(ctx context.Context, f vezechat.FlagMessage) error {
	select {
	case m.asked <- f:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-m.back:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// While moderators cannot be told, people go on writing; they are told later, in order,
// and what does not fit is said and counted.
func TestPoster_FlagsBesideTheMessages(t *testing.T) {
	t.Parallel()
	g, err := guard.New(guardRules(), 100)
	must(t, err)
	m := &goneModerators{asked: make(chan vezechat.FlagMessage), back: make(chan error)}
	d := &desk{clock: &clock{at: start}, reg: prometheus.NewRegistry()}
	d.hub = newFakeHub(d.clock.Now)
	d.Poster = edge.NewPoster(edge.PosterConfig{Log: d.hub, Rooms: d.hub, Messages: d.hub, Moderation: m, Now: d.clock.Now, Registerer: d.reg, Guards: g})
	said := func(i int) vezechat.Seq {
		t.Helper()
		d.clock.Add(time.Minute / 2) // no flood
		ack, err := d.send(member(1), 2, fmt.Sprintf("see http://odd.example %s", strings.Repeat("x", 1+i%40)), fmt.Sprint("n", i))
		must(t, err)
		return ack.Seq
	}
	first := said(0)
	if f := <-m.asked; f.MessageID != first {
		t.Errorf("told of %d first, want %d", f.MessageID, first)
	}
	for i := range edge.MaxFlags + 4 { // none of these waits for an answer
		said(i + 1)
	}
	if n := counter(t, d.reg, "vezechat_edge_guard_unflagged_total"); n != 5 {
		t.Errorf("%v messages that moderators are not told of, want 5", n)
	}
	m.back <- vezechat.Errorf(vezechat.CodeNotFound, "gone") // of no use to try again
	second := <-m.asked
	if second.MessageID != first+1 {
		t.Errorf("told of %d second, want %d", second.MessageID, first+1)
	}
	d.Settle(0)
	if n := counter(t, d.reg, "vezechat_edge_guard_unflagged_total"); n != float64(5+edge.MaxFlags) {
		t.Errorf("%v messages that moderators were not told of at the end, want %d", n, 5+edge.MaxFlags)
	}
	said(5000)
	if n := counter(t, d.reg, "vezechat_edge_guard_unflagged_total"); n != float64(6+edge.MaxFlags) {
		t.Errorf("%v, one after the end", n)
	}
}

// Storage that is away for a moment is asked again.
func TestPoster_FlagsAgain(t *testing.T) {
	t.Parallel()
	d, m := guardedDesk(t, edge.Limits{}, false)
	m.set(vezechat.Errorf(vezechat.CodeUnavailable, "away"))
	ack, err := d.send(member(1), 2, "see http://odd.example", "n")
	must(t, err)
	tried := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.flagged)
	}
	for end := time.Now().Add(10 * time.Second); tried() < 2 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	m.set(nil)
	d.Settle(time.Minute)
	if n := counter(t, d.reg, "vezechat_edge_guard_unflagged_total"); n != 0 || m.flagged[len(m.flagged)-1].MessageID != ack.Seq {
		t.Errorf("%v were not told of; %+v", n, m.flagged)
	}
}

func counter(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	all, err := reg.Gather()
	must(t, err)
	for _, f := range all {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// Where messages are classified before they are said, they are held for that, and not
// edited after; staff need not wait. What the guards refuse is refused all the same.
func TestPoster_HeldForTheClassifier(t *testing.T) {
	t.Parallel()
	d, m := guardedDesk(t, edge.Limits{}, false)
	said, err := d.send(member(1), 2, "hello", "first") // as the room is classified after
	must(t, err)
	send := func(c vezechat.Caller, text string) error {
		acc := d.access(c, 2)
		acc.Room.Kind = vezechat.KindParty
		_, err := d.Send(t.Context(), edge.Send{Caller: c, Access: acc, Text: text, Nonce: "n"})
		return err
	}
	var e *vezechat.Error
	if err := send(member(1), "you grobbel"); !errors.As(err, &e) || e.Code != vezechat.CodeBlockedContent || e.HeldID != 7 {
		t.Errorf("its author is told %+v", err)
	}
	if len(m.held) != 1 || !m.held[0].Judge || m.held[0].Text != "you *******" || d.hub.appended() != 1 {
		t.Errorf("held %+v, %d events", m.held, d.hub.appended())
	}
	wantCode(t, "blocked", send(member(1), "you kwaffel"), vezechat.CodeBlockedContent)
	wantCode(t, "held for people", send(member(1), "a holdword"), vezechat.CodeBlockedContent)
	if len(m.held) != 2 || m.held[1].Judge {
		t.Errorf("held %+v", m.held)
	}
	wantCode(t, "of staff", send(member(2, vezechat.ScopeChatModerate), "hello"), "")
	acc := d.access(member(1), 2)
	acc.Room.Kind = vezechat.KindParty
	_, err = d.Edit(t.Context(), edge.Change{Caller: member(1), Access: acc, MessageID: said.Seq}, "other words")
	wantCode(t, "an edit", err, vezechat.CodeBlockedContent)
	if d.hub.appended() != 2 {
		t.Error("something else was said")
	}
}

func TestPoster_GuardsEdits(t *testing.T) {
	t.Parallel()
	d, m := guardedDesk(t, edge.Limits{}, false)
	c := member(1)
	ack, err := d.send(c, 2, "hello", "n")
	must(t, err)
	change := edge.Change{Caller: c, Access: d.access(c, 2), MessageID: ack.Seq}
	for _, text := range []string{"now kwaffel", "now holdword"} {
		_, err = d.Edit(t.Context(), change, text)
		wantCode(t, text, err, vezechat.CodeBlockedContent)
	}
	if n := d.hub.appended(); n != 1 || len(m.held) != 0 {
		t.Errorf("%d events, held %+v: want the message alone", n, m.held)
	}
	_, err = d.Edit(t.Context(), change, "now grobbel http://odd.example")
	wantCode(t, "redacted and flagged", err, "")
	d.Settle(time.Minute)
	if _, e := d.hub.last(); e.Type != vezechat.EventMessageEdited || e.Text != "now ******* http://odd.example" || len(m.flagged) != 1 || m.flagged[0].MessageID != ack.Seq {
		t.Errorf("%s %q, flagged %+v", e.Type, e.Text, m.flagged)
	}
}

// The same message again is a retry, and no flood; what is refused costs the sender
// as much as what is said.
func TestPoster_SpamCountsMessages(t *testing.T) {
	t.Parallel()
	slow := edge.Rate{Every: time.Minute, Burst: 8}
	d, _ := guardedDesk(t, edge.Limits{User: slow, Room: slow}, false)
	d.clock.Add(time.Hour) // nobody is new
	for i := range 5 {
		for range 2 {
			_, err := d.send(member(1), 2, fmt.Sprint("message ", strings.Repeat("ab", i)), fmt.Sprint("n", i))
			wantCode(t, fmt.Sprint("message ", i), err, "")
		}
	}
	for i := range 3 {
		_, err := d.send(member(1), 2, "one too many", fmt.Sprint("m", i))
		wantCode(t, "the sixth within the window", err, vezechat.CodeBlockedContent)
	}
	_, err := d.send(member(1), 2, "one too many", "m9")
	wantCode(t, "the ninth try", err, vezechat.CodeRateLimited)
	for i := range 20 {
		_, err := d.send(member(1, vezechat.ScopeChatModerate), 2, "hello", fmt.Sprint("s", i))
		wantCode(t, "staff", err, "")
	}
}

func TestPoster_NewAccounts(t *testing.T) {
	t.Parallel()
	d, _ := guardedDesk(t, edge.Limits{}, false)
	u, err := d.hub.EnsureUser(t.Context(), vezechat.Identity{Handle: "u1"})
	must(t, err)
	for i, want := range []vezechat.Code{"", "", vezechat.CodeBlockedContent} {
		_, err := d.send(member(u.ID), 1, strings.Repeat("hello", i+1), fmt.Sprint("n", i))
		wantCode(t, fmt.Sprint("message ", i, " of a new account"), err, want)
	}
	d.clock.Add(time.Minute)
	for i := range 3 {
		_, err := d.send(member(u.ID), 1, strings.Repeat("later", i+1), fmt.Sprint("m", i))
		wantCode(t, fmt.Sprint("message ", i, " a minute later"), err, "")
	}
}

func entries(t *testing.T, v any) string {
	t.Helper()
	return fmt.Sprint(v)
}

// tables is all that a database has, as JSON.
func tables(t *testing.T, url string) string {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	must(t, err)
	defer pool.Close()
	rows, err := pool.Query(t.Context(), `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	must(t, err)
	var names []string
	for rows.Next() {
		var name string
		must(t, rows.Scan(&name))
		names = append(names, name)
	}
	must(t, rows.Err())
	var all strings.Builder
	for _, name := range names {
		var s string
		must(t, pool.QueryRow(t.Context(), `SELECT COALESCE(json_agg(t)::text, '') FROM `+name+` t`).Scan(&s))
		all.WriteString(s)
	}
	return all.String()
}

// silentUsers is storage that is away: it answers when nobody waits any more.
type silentUsers struct {
	vezechat.UserService
	asked int
}

func (s *silentUsers) User(ctx context.Context, _ vezechat.UserQuery) (vezechat.User, error) {
	s.asked++
	<-ctx.Done()
	return vezechat.User{}, vezechat.WrapError(vezechat.CodeUnavailable, ctx.Err(), "away")
}

// While storage is away people go on writing, and not each of their messages waits for it.
func TestPoster_DoesNotWaitForAges(t *testing.T) {
	t.Parallel()
	g, err := guard.New(guardRules(), 100)
	must(t, err)
	d, users := &desk{clock: &clock{at: start}, reg: prometheus.NewRegistry()}, &silentUsers{}
	d.hub = newFakeHub(d.clock.Now)
	d.Poster = edge.NewPoster(edge.PosterConfig{Log: d.hub, Rooms: d.hub, Messages: d.hub, Users: users, Now: d.clock.Now, Registerer: d.reg, Guards: g})
	for i := range 5 {
		_, err := d.send(member(1), 2, fmt.Sprint("message ", i), fmt.Sprint("n", i))
		wantCode(t, fmt.Sprint("message ", i), err, "")
	}
	if users.asked != 1 {
		t.Errorf("storage was asked %d times within a second, want once", users.asked)
	}
	d.clock.Add(time.Minute)
	if _, err := d.send(member(1), 2, "a minute later", "m"); err != nil || users.asked != 2 {
		t.Errorf("a minute later: %v, asked %d times", err, users.asked)
	}
}

// lateRules knows who is banned, and has rules when it is told to.
type lateRules struct {
	vezechat.ModerationService
	err error
}

func (l *lateRules) Sanctions(context.Context, vezechat.SanctionQuery) (vezechat.SanctionPage, error) {
	return vezechat.SanctionPage{Rules: 3}, nil
}

func (l *lateRules) Rules(context.Context) (vezechat.RulesVersion, error) {
	return vezechat.RulesVersion{Version: 3}, l.err
}

// An edge that does not have the rules yet lets nobody in: it would judge by others.
func TestSanctions_ReadyWithTheRules(t *testing.T) {
	t.Parallel()
	kept, told := &lateRules{err: vezechat.Errorf(vezechat.CodeUnavailable, "away")}, 0
	s := edge.NewSanctions(edge.SanctionsConfig{Moderation: kept, Now: time.Now, OnRules: func(vezechat.RulesVersion) { told++ }})
	if err := s.Load(t.Context()); err == nil || s.Ready() == nil || s.Check(1) == nil || told != 0 {
		t.Errorf("without rules: %v, ready %v, let in %v, told %d times", err, s.Ready(), s.Check(1), told)
	}
	kept.err = nil
	if err := s.Load(t.Context()); err != nil || s.Ready() != nil || s.Check(1) != nil || told != 1 {
		t.Errorf("with rules: %v, ready %v, let in %v, told %d times", err, s.Ready(), s.Check(1), told)
	}
}
