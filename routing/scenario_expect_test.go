package routing_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
	"vezeuniqverse.com/vezechat/routing/sla"
)

func differs(what string, got, want any) error {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		return fmt.Errorf("%s: %s, want %s", what, g, w)
	}
	return nil
}

// expect reads "TICKET waits", "… offered WHO", "… with WHO", "… rests", "… is STATUS",
// "… in QUEUE", "… live" and "… deferred"; "WHO uses UNITS", "… is STATUS", "… offered
// TICKET…" and "… offered nothing".
func (s *scene) expect(w []string) error {
	if len(w) < 2 {
		return fmt.Errorf("want what is expected")
	}
	t, ok := s.tickets[w[0]]
	if !ok {
		return s.expectAgent(w)
	}
	t, err := s.Ticket(s.ctx, vezechat.TicketRef{Caller: s.boss, TicketID: t.ID})
	if err != nil {
		return err
	}
	var state vezechat.ItemState
	var agent vezechat.UserID
	const item = `SELECT coalesce((SELECT state FROM routing_items WHERE ticket_id = $1), 'none'), coalesce((SELECT agent_id FROM routing_items WHERE ticket_id = $1), 0)`
	if err := s.pool.QueryRow(s.ctx, item, t.ID).Scan(&state, &agent); err != nil {
		return err
	}
	what := "ticket " + w[0]
	switch w[1] {
	case "waits":
		return differs(what, state, vezechat.ItemQueued)
	case "rests":
		return differs(what, state, vezechat.ItemNone)
	case "offered":
		return differs(what, fmt.Sprint(state, " to ", s.name(agent)), fmt.Sprint(vezechat.ItemOffered, " to ", w[2]))
	case "with":
		return differs(what+" is with", s.name(t.Assignee), w[2])
	case "is":
		return differs(what, t.Status, w[2])
	case "in":
		return differs(what+" is in queue", t.Queue, s.queues[w[2]].ID)
	case "live", "deferred":
		return differs(what+" is live", t.Live, w[1] == "live")
	}
	return fmt.Errorf("a ticket is never %s", w[1])
}

func (s *scene) expectAgent(w []string) error {
	c, ok := s.people[w[0]]
	if !ok {
		return fmt.Errorf("no ticket and nobody is %s", w[0])
	}
	list, err := s.Agents(s.ctx, s.boss)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(a vezechat.Agent) bool { return a.ID == c.UserID })
	if i < 0 {
		return fmt.Errorf("%s is no agent", w[0])
	}
	switch w[1] {
	case "uses":
		return differs(w[0]+" uses", list[i].Used, w[2])
	case "is":
		return differs(w[0], list[i].Status, w[2])
	case "offered":
		got, err := s.offersTo(c)
		if len(got) == 0 {
			got = []string{"nothing"}
		}
		if err == nil {
			err = differs("offered to "+w[0], got, w[2:])
		}
		return err
	}
	return fmt.Errorf("nobody ever %s", w[1])
}

// why reads "TICKET WHO REASON…", as in routing/match/testdata.
func (s *scene) why(w []string) error {
	r, err := s.ref(s.boss, w[0])
	if err != nil {
		return err
	}
	why, err := s.WhyTicket(s.ctx, r)
	if err != nil {
		return err
	}
	for _, v := range why.Verdicts {
		if s.name(v.Agent) == w[1] {
			return differs("ticket "+w[0]+" and "+w[1], s.reason(v), strings.Join(w[2:], " "))
		}
	}
	return fmt.Errorf("nothing is said about %s", w[1])
}

func (s *scene) reason(v vezechat.Verdict) string {
	switch v.Reason {
	case match.Free:
		return "free"
	case match.NotOnline:
		return string(v.Status)
	case match.Held, match.Excluded:
		return fmt.Sprintf("%s until %s", v.Reason, v.Until.Format("15:04:05"))
	case match.SkillLow:
		for name, id := range s.skills {
			if id == v.Skill {
				return fmt.Sprintf("%s %d of %d", name, v.Have, v.Want)
			}
		}
	case match.TierClosed, match.Full:
		return fmt.Sprintf("%s %d, wants %d", v.Reason, v.Have, v.Want)
	}
	return string(v.Reason)
}

// told reads "TICKET TYPE COUNT [WHO] [at TIME]": how many events of a type, about or
// to somebody, at a time.
func (s *scene) told(w []string) error {
	r, err := s.ref(s.boss, w[0])
	if err != nil {
		return err
	}
	sql := `SELECT count(*) FROM (SELECT type, convert_from(payload, 'UTF8')::jsonb AS e FROM desk_events) d
		WHERE (e->>'ticket_id')::bigint = $1 AND type = 'ticket.' || $2`
	args := []any{r.TicketID, w[1]}
	for rest := w[3:]; len(rest) > 0; rest = rest[1:] {
		if rest[0] != "at" {
			args = append(args, s.people[rest[0]].UserID)
			sql += fmt.Sprintf(` AND (e->>'user_id')::bigint = $%d`, len(args))
			continue
		}
		at, _, err := s.instant(rest[1:])
		if err != nil {
			return err
		}
		args = append(args, at)
		sql += fmt.Sprintf(` AND (e->>'at')::timestamptz = $%d`, len(args))
		break
	}
	var n int
	if err := s.pool.QueryRow(s.ctx, sql, args...).Scan(&n); err != nil {
		return err
	}
	return differs("events "+w[1], n, w[2])
}

// clock reads "TICKET METRIC none", or a state and then "due TIME|never", "breached
// TIME|never", "used DURATION" and "instance N", of the metric's last clock.
func (s *scene) clock(w []string) error {
	r, err := s.ref(s.boss, w[0])
	if err != nil {
		return err
	}
	list, err := s.TicketClocks(s.ctx, r)
	if err != nil {
		return err
	}
	c := vezechat.Clock{State: "none"}
	for _, k := range list {
		if k.Metric == vezechat.Metric(w[1]) {
			c = k
		}
	}
	if err := differs(w[1], c.State, w[2]); err != nil {
		return err
	}
	for w = w[3:]; len(w) > 0; {
		var err error
		switch key := w[0]; key {
		case "due", "breached":
			got := map[string]time.Time{"due": c.DueAt, "breached": c.BreachedAt}[key]
			want, rest := time.Time{}, w[2:]
			if w[1] != "never" {
				if want, rest, err = s.instant(w[1:]); err != nil {
					return err
				}
			}
			w, err = rest, differs(key, got, want)
		case "used":
			var want, got time.Duration
			if want, err = time.ParseDuration(w[1]); err == nil {
				if got, err = s.used(r, &c); err == nil {
					err = differs("used", got, want)
				}
			}
			w = w[2:]
		case "instance":
			w, err = w[2:], differs("instance", c.Instance, w[1])
		default:
			err = fmt.Errorf("a clock has no %s", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// used is the time that has counted, by the hours of the ticket's queue.
func (s *scene) used(r vezechat.TicketRef, c *vezechat.Clock) (time.Duration, error) {
	t, err := s.Ticket(s.ctx, r)
	if err != nil {
		return 0, err
	}
	plan := sla.Plan{}
	for _, q := range s.queues {
		for _, cal := range s.calendars {
			if q.ID == t.Queue && cal.ID == q.Calendar {
				if plan.Hours, err = sla.New(cal); err != nil {
					return 0, err
				}
			}
		}
	}
	return plan.Used(c, s.now()), nil
}

// place reads "TICKET POSITION [SOON LATE]": what its requester is told.
func (s *scene) place(w []string) error {
	t := s.tickets[w[0]]
	for _, c := range s.people {
		if c.UserID != t.Requester {
			continue
		}
		p, err := s.TicketPlace(s.ctx, vezechat.TicketRef{Caller: c, TicketID: t.ID})
		if err != nil {
			return err
		}
		got := []string{strconv.Itoa(p.Position), strconv.Itoa(p.Soon), strconv.Itoa(p.Late)}
		return differs("the place of "+w[0], got[:len(w)-1], w[1:])
	}
	return fmt.Errorf("no ticket %s", w[0])
}

// board reads "QUEUE KEY VALUE…": waiting, live, offered, assigned, missed, met,
// breached.
func (s *scene) board(w []string) error {
	b, err := s.Board(s.ctx, s.boss)
	if err != nil {
		return err
	}
	for _, q := range b.Queues {
		if q.Name != w[0] {
			continue
		}
		have := map[string]int{"waiting": q.Waiting, "live": q.Live, "offered": q.Offered, "assigned": q.Assigned, "missed": q.Missed, "met": q.Met, "breached": q.Breached}
		for pair := w[1:]; len(pair) > 1; pair = pair[2:] {
			n, ok := have[pair[0]]
			if !ok {
				return fmt.Errorf("the board has no %s", pair[0])
			}
			if err := differs(pair[0], n, pair[1]); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no queue %s on the board", w[0])
}

// sees reads "WHO TICKET OTHER MODE" or "WHO TICKET nobody": who else has it before
// them, as somebody who has it before them is told.
func (s *scene) sees(w []string) error {
	r, err := s.ref(s.people[w[0]], w[1])
	if err != nil {
		return err
	}
	list, err := s.AttendTicket(s.ctx, vezechat.AttendTicket{TicketRef: r, Mode: "viewing"})
	if err != nil {
		return err
	}
	got := []string{"nobody"}
	for i, a := range list {
		got = append(got[:2*i], s.name(a.UserID), a.Mode)
	}
	return differs(w[0]+" sees", got, w[2:])
}

// counts reads "VIEW N".
func (s *scene) counts(w []string) error {
	list, err := s.TicketViews(s.ctx, s.boss)
	if err != nil {
		return err
	}
	for _, v := range list {
		if v.ID == s.views[w[0]] {
			return differs(w[0], v.Count, w[1])
		}
	}
	return fmt.Errorf("no view %s", w[0])
}
