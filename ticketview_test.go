package vezechat_test

import (
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// What the staff keeps to itself is in no ticket and no refusal that a requester gets.
func TestTicket_ForRequester(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	tk := vezechat.Ticket{
		ID: 1, Requester: 2, Status: vezechat.StatusOnHold, NotesRoom: 3, Tags: []string{"x"}, Custom: vezechat.CustomJSON(`{"a":1}`),
		Needs: []vezechat.SkillLevel{{Skill: 1, Level: 2}}, WakeAt: at, SilentAt: at, SolvedBy: 9, CloseReason: vezechat.CloseSpam,
	}
	got := tk.ForRequester()
	if got.Status != vezechat.StatusOpen || got.NotesRoom != 0 || got.Tags != nil || got.Custom != nil || got.Needs != nil ||
		!got.WakeAt.IsZero() || !got.SilentAt.IsZero() || got.SolvedBy != 0 || got.CloseReason != "" {
		t.Errorf("they see %+v", got)
	}
	tk.SolvedBy, tk.CloseReason = 2, vezechat.CloseExpired
	if got := tk.ForRequester(); got.SolvedBy != 2 || got.CloseReason != vezechat.CloseExpired {
		t.Errorf("of what they did themselves they see %+v", got)
	}
	_, held := vezechat.StatusOnHold.Transition(vezechat.MoveReopen, vezechat.PartyRequester)
	_, open := vezechat.StatusOpen.Transition(vezechat.MoveReopen, vezechat.PartyRequester)
	if held == nil || open == nil || held.Error() != open.Error() {
		t.Errorf("on hold: %v, open: %v", held, open)
	}
	if _, err := vezechat.StatusOnHold.Transition(vezechat.MoveReopen, vezechat.PartyStaff); err == nil || !strings.Contains(err.Error(), "on hold") {
		t.Errorf("to the staff: %v", err)
	}
}
