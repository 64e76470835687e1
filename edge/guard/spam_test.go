package guard_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/guard"
)

// speaker says things to Guards, and tells which limit stopped them.
type speaker struct {
	t      *testing.T
	guards *guard.Guards
	now    time.Time
}

func newSpeaker(t *testing.T, remember int) *speaker {
	t.Helper()
	g, err := guard.New(rules(), remember)
	if err != nil {
		t.Fatal(err)
	}
	return &speaker{t, g, start}
}

func (s *speaker) say(user vezechat.UserID, text string, age time.Duration) string {
	j := s.guards.Judge(guard.Message{Text: text, Kind: vezechat.KindGlobal}, user, guard.Author{Age: age, Now: s.now}, true)
	var labels []string
	for _, f := range j.Findings {
		if f.Guard != guard.Spam || f.Verdict != vezechat.VerdictBlock || len(f.Spans) > 0 || f.Reason == "" {
			s.t.Errorf("%+v", f)
		}
		labels = append(labels, f.Label)
	}
	return strings.Join(labels, " ")
}

const known = time.Hour // an account that is not new

func TestSpam_Flood(t *testing.T) {
	t.Parallel()
	s := newSpeaker(t, 10)
	for i := range 5 {
		if got := s.say(1, fmt.Sprint("message number ", strings.Repeat("ab", i)), known); got != "" {
			t.Fatalf("message %d: %s", i, got)
		}
	}
	if got := s.say(1, "one more", known); got != guard.Flood {
		t.Errorf("the sixth: %q", got)
	}
	if got := s.say(2, "one more", known); got != "" {
		t.Errorf("another's first: %q", got)
	}
	s.now = s.now.Add(10 * time.Second)
	if got := s.say(1, "one more", known); got != "" {
		t.Errorf("after the window: %q", got)
	}
}

func TestSpam_Repeats(t *testing.T) {
	t.Parallel()
	s := newSpeaker(t, 10)
	for i, text := range []string{"Buy gold now", "buy   GOLD now!!!"} {
		if got := s.say(1, text, known); got != "" {
			t.Fatalf("%d: %s", i, got)
		}
	}
	for range 3 { // what was refused does not count, and is refused again
		if got := s.say(1, "b-u-y g0ld nooow", known); got != guard.Repeat {
			t.Errorf("the third: %q", got)
		}
	}
	if got := s.say(1, "something else", known); got != "" {
		t.Error(got)
	}
	for _, text := range []string{"🔥🔥", "❤️", "🔥🔥"} { // texts without letters are compared, too
		if got := s.say(3, text, known); got != "" {
			t.Errorf("%s: %q", text, got)
		}
	}
	if got := s.say(3, "🔥🔥", known); got != guard.Repeat {
		t.Errorf("an emoji: %q", got)
	}
}

func TestSpam_StormsAndNewAccounts(t *testing.T) {
	t.Parallel()
	s := newSpeaker(t, 10)
	for i, tt := range []struct {
		text string
		age  time.Duration
		want string
	}{
		{"@a @b @c @d @e @f", known, ""},
		{"@a @b @c @d @e @f @g", known, guard.Mentions},
		{"mail me at a@b, c@d, e@f, g@h, i@j, k@l, m@n", known, ""},
		{"@a @b @c", time.Minute - 1, guard.Mentions},
		{"@a @b @c", time.Minute, ""},
		{"@a @b @c", -1, ""}, // of whom it is not known
		{"http://a.example http://b.example http://c.example http://d.example", known, ""},
		{"http://a.example http://b.example http://c.example http://d.example e.org", known, guard.ManyLink},
		{"look: a.org b.org", 0, guard.ManyLink},
		{"look: a.org", 0, ""},
	} {
		if got := s.say(vezechat.UserID(i+1), tt.text, tt.age); got != tt.want {
			t.Errorf("%q at %s: %q, want %q", tt.text, tt.age, got, tt.want)
		}
	}
	for i := range 3 {
		s.say(100, fmt.Sprint(strings.Repeat("new", i+1)), 0)
	}
	if got := s.say(100, "once more", 0); got != guard.Flood {
		t.Errorf("the fourth of a new account: %q", got)
	}
	for i := range 3 {
		s.say(101, fmt.Sprintf("@a @b %s", strings.Repeat("x", i)), known)
	}
	if got := s.say(101, "@a", known); got != guard.Mentions {
		t.Errorf("a storm over messages: %q", got)
	}
	for i, storm := range []string{"@a @b @c", "look: a.org b.org"} { // before it was known that the account is new
		user := vezechat.UserID(102 + i)
		if got := s.say(user, storm, -1); got != "" {
			t.Errorf("%q: %q", storm, got)
		}
		if got := s.say(user, "nobody and nothing", 0); got != "" {
			t.Errorf("a message without one after %q: %q", storm, got)
		}
	}
}

// What is remembered is bounded: of more authors the one who was silent the longest
// is forgotten.
func TestSpam_Forgets(t *testing.T) {
	t.Parallel()
	s := newSpeaker(t, 2)
	full := func(user vezechat.UserID) {
		for i := range 5 {
			s.say(user, strings.Repeat("ab", i+1), known)
		}
	}
	full(1)
	full(2)
	if got := s.say(1, "more", known); got != guard.Flood {
		t.Errorf("who is remembered: %q", got)
	}
	s.say(3, "hello", known) // 2 was silent the longest
	if got := s.say(1, "more", known); got != guard.Flood {
		t.Errorf("who spoke lately: %q", got)
	}
	if got := s.say(2, "more", known); got != "" {
		t.Errorf("who was forgotten: %q", got)
	}
}

func TestSpam_NotCounted(t *testing.T) {
	t.Parallel()
	g, err := guard.New(rules(), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []guard.Author{{Age: known, Now: start}, {Staff: true, Age: known, Now: start}} {
		for range 20 {
			if j := g.Judge(guard.Message{Text: "an edit", Kind: vezechat.KindGlobal}, 1, by, by.Staff); j.Verdict != vezechat.VerdictAllow {
				t.Fatalf("%+v", j)
			}
		}
	}
	if j := g.Judge(guard.Message{Text: "an edit", Kind: vezechat.KindGlobal}, 1, guard.Author{Age: known, Now: start}, true); j.Verdict != vezechat.VerdictAllow {
		t.Errorf("the first that counts: %+v", j)
	}
}

// Many at once, while the rules change.
func TestGuards_Concurrent(t *testing.T) {
	t.Parallel()
	g, err := guard.New(rules(), 8)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for user := range vezechat.UserID(16) {
		wg.Go(func() {
			for i := range 50 {
				j := g.Judge(guard.Message{Text: fmt.Sprintf("gr0bbel %d ж坏 @a", i), Kind: vezechat.KindGuild}, user, guard.Author{Age: -1, Now: start}, true)
				if j.Verdict != vezechat.VerdictRedact {
					t.Errorf("%+v", j)
				}
			}
		})
	}
	for range 5 {
		if err := g.Use(rules()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

func TestLinks_Policy(t *testing.T) {
	t.Parallel()
	m := compile(t, rules())
	only := rules()
	only.Links.Only = true
	strict := compile(t, only)
	for _, tt := range []struct {
		name, text, want string // what is found
		strict           bool
	}{
		{"denied", "see http://bad.example/x?y=1", "bad.example", false},
		{"beneath it", "see https://www.BAD.example:8080", "www.BAD.example", false},
		{"another that ends so", "http://notbad.example", "", false},
		{"without a scheme", "go to evil.com now", "evil.com", false},
		{"allowed beneath a denied one", "http://x.good.evil.com/", "", false},
		{"behind a name", "http://good.evil.com@evil.com/", "evil.com", false},
		{"dots in brackets", "evil[.]com, evil(dot)com", "evil[.]com evil(dot)com", false},
		{"dots as words", "evil dot com", "evil dot com", false},
		{"a full stop of another script", "evil。com", "evil。com", false},
		{"letters that look alike", "http://еvil.com", "еvil.com", false},
		{"in its ASCII form", "http://xn--e1afmkfd.com", "xn--e1afmkfd.com", false},
		{"in its own letters", "http://пример.com", "пример.com", false},
		{"a sentence", "this is evil.Come on. Dot the i. etc.", "", false},
		{"not listed", "http://other.example", "", false},
		{"not listed, where all must be", "http://other.example and nice.org, e.g. v1.2.3", "other.example nice.org", true},
		{"listed, where all must be", "http://good.evil.com", "", true},
		{"a number, where all must be", "3.14 and file.txt and a.b", "", true},
		{"an address of numbers", "http://10.0.0.1/", "10.0.0.1", true},
		{"nothing", "//", "", true},
	} {
		by := m
		if tt.strict {
			by = strict
		}
		var got []string
		for _, f := range judge(by, vezechat.KindGlobal, tt.text).Findings {
			if f.Guard != guard.Links || f.Verdict != vezechat.VerdictHold {
				t.Errorf("%s: %+v", tt.name, f)
			}
			for _, at := range f.Spans {
				got = append(got, tt.text[at.Start:at.End])
			}
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s: %q: found %q, want %q", tt.name, tt.text, got, tt.want)
		}
	}
}

func TestSpam_CountingIsNoRepeat(t *testing.T) {
	t.Parallel()
	s := newSpeaker(t, 10)
	for i := range 3 {
		if got := s.say(4, fmt.Sprint("wave ", 10+i), known); got != "" {
			t.Errorf("wave %d: %s", 10+i, got)
		}
	}
	for i, want := range []string{"", "", guard.Repeat} {
		if got := s.say(5, "wave 7", known); got != want {
			t.Errorf("the same for the %d. time: %q, want %q", i+1, got, want)
		}
	}
}
