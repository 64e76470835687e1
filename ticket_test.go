package vezechat_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// moves is the state machine as a person reads it: under each status, what each
// move makes of it. r, s, h: the requester, the staff, the hub may make it.
const moves = `
         new      open     pending  on_hold  solved   closed
accept   s:open   s:open   -        -        -        -
reply    s:open   s:open   s:pending s:on_hold s:solved -
wait     s:pending s:pending s:pending s:pending -    -
hold     s:on_hold s:on_hold s:on_hold s:on_hold -    -
resume   -        -        s:open   s:open   -        -
message  r:new    r:open   r:open   r:open   r:open   -
wake     -        -        h:open   h:open   -        -
solve    rs:solved rs:solved rs:solved rs:solved -    -
reopen   -        -        -        -        rs:open  -
expire   -        -        -        -        h:closed -
merge    s:closed s:closed s:closed s:closed s:closed -
spam     s:closed s:closed s:closed s:closed s:closed -
`

func TestStatus_Transition(t *testing.T) {
	t.Parallel()
	parties := map[byte]vezechat.Party{'r': vezechat.PartyRequester, 's': vezechat.PartyStaff, 'h': vezechat.PartyHub}
	lines := strings.Split(strings.TrimSpace(moves), "\n")
	head := strings.Fields(lines[0])
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		move := vezechat.Move(cells[0])
		for i, cell := range cells[1:] {
			from := vezechat.Status(head[i])
			if !from.Valid() {
				t.Fatalf("%q is no status", from)
			}
			who, to, _ := strings.Cut(cell, ":")
			for letter, party := range parties {
				got, err := from.Transition(move, party)
				if strings.IndexByte(who, letter) < 0 {
					if vezechat.CodeOf(err) != vezechat.CodeBadTransition || got != from {
						t.Errorf("%s, %s by %s: %s, %v; want it refused", from, move, party, got, err)
					}
					continue
				}
				if err != nil || got != vezechat.Status(to) {
					t.Errorf("%s, %s by %s: %s, %v; want %s", from, move, party, got, err, to)
				}
			}
		}
	}
	if _, err := vezechat.StatusOpen.Transition("dance", vezechat.PartyStaff); vezechat.CodeOf(err) != vezechat.CodeBadTransition {
		t.Errorf("an unknown move: %v", err)
	}
}

func TestCheckTags(t *testing.T) {
	t.Parallel()
	got, err := vezechat.CheckTags([]string{" Billing", "vip", "billing", "os/win-11", "größe"})
	if err != nil || strings.Join(got, " ") != "billing größe os/win-11 vip" {
		t.Errorf("tags %v, %v", got, err)
	}
	for name, tags := range map[string][]string{
		"empty":   {""},
		"space":   {"two words"},
		"control": {"a\u202eb"},
		"comma":   {"a,b"},
	} {
		if _, err := vezechat.CheckTags(tags); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := vezechat.CheckTags([]string{strings.Repeat("ä", vezechat.MaxTag+1)}); vezechat.CodeOf(err) != vezechat.CodeTooLarge {
		t.Errorf("a long tag: %v", err)
	}
	var many []string
	for i := range vezechat.MaxTags + 1 {
		many = append(many, string(rune('a'+i)))
	}
	if _, err := vezechat.CheckTags(many); vezechat.CodeOf(err) != vezechat.CodeTooLarge {
		t.Errorf("many tags: %v", err)
	}
	if _, err := vezechat.CheckTags(many[1:]); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
}

func TestCheckSubject(t *testing.T) {
	t.Parallel()
	if s, err := vezechat.CheckSubject("  Lost my ship \n"); err != nil || s != "Lost my ship" {
		t.Errorf("%q, %v", s, err)
	}
	long := strings.Repeat("ö", vezechat.MaxSubject)
	if _, err := vezechat.CheckSubject(long); err != nil {
		t.Errorf("as long as it may be: %v", err)
	}
	for in, want := range map[string]vezechat.Code{
		"": vezechat.CodeBadRequest, " \t": vezechat.CodeBadRequest, "a\x00b": vezechat.CodeBadRequest,
		"two\nlines": vezechat.CodeBadRequest, "\xff": vezechat.CodeBadRequest, long + "o": vezechat.CodeTooLarge,
	} {
		if _, err := vezechat.CheckSubject(in); vezechat.CodeOf(err) != want {
			t.Errorf("%q: %v, want %s", vezechat.Clip(in, 20), err, want)
		}
	}
}

// A refusal is a sentence, and says nothing of holds to requesters.
func TestStatus_RefusalsAreSentences(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		from vezechat.Status
		move vezechat.Move
		by   vezechat.Party
		want string
	}{
		{vezechat.StatusSolved, vezechat.MoveSolve, vezechat.PartyStaff, "the ticket is solved already"},
		{vezechat.StatusClosed, vezechat.MoveSolve, vezechat.PartyStaff, "a ticket that is closed cannot be solved"},
		{vezechat.StatusSolved, vezechat.MoveHold, vezechat.PartyStaff, "a ticket that is solved cannot be put on hold"},
		{vezechat.StatusOnHold, vezechat.MoveReopen, vezechat.PartyStaff, "a ticket that is on hold cannot be opened again"},
		{vezechat.StatusOnHold, vezechat.MoveReopen, vezechat.PartyRequester, "a ticket that is open cannot be opened again by its requester"},
		{vezechat.StatusOpen, vezechat.MoveSpam, vezechat.PartyRequester, "a ticket that is open cannot be closed by its requester"},
	} {
		_, err := tc.from.Transition(tc.move, tc.by)
		if got := vezechat.AsError(err).Message; vezechat.CodeOf(err) != vezechat.CodeBadTransition || got != tc.want {
			t.Errorf("%s, %s by %s: %q, want %q", tc.from, tc.move, tc.by, got, tc.want)
		}
	}
}

func TestPriority_Boost(t *testing.T) {
	t.Parallel()
	last := time.Duration(-1 << 62)
	for _, p := range []vezechat.Priority{vezechat.PriorityLow, vezechat.PriorityNormal, vezechat.PriorityHigh, vezechat.PriorityUrgent} {
		if !p.Valid() || p.Boost() <= last {
			t.Errorf("%s counts as %s, not more than the one below", p, p.Boost())
		}
		last = p.Boost()
	}
}

func TestClock_JSONHasMilliseconds(t *testing.T) {
	t.Parallel()
	c := vezechat.Clock{ID: 3, Metric: vezechat.MetricPickup, Instance: 1, State: vezechat.ClockRunning, Target: 90 * time.Second, Consumed: 1500*time.Microsecond + 7}
	b, err := json.Marshal(c)
	if err != nil || !strings.Contains(string(b), `"target_ms":90000`) || !strings.Contains(string(b), `"consumed_ms":1`) {
		t.Fatalf("%s, %v", b, err)
	}
	var back vezechat.Clock
	c.Consumed = time.Millisecond
	if err := json.Unmarshal(b, &back); err != nil || back != c {
		t.Errorf("%+v, %v, want %+v", back, err, c)
	}
	if err := json.Unmarshal([]byte(`{"target_ms":"soon"}`), &back); err == nil {
		t.Error("a word is taken for a time")
	}
}
