package templates

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// statusName is how people call a status.
func statusName(s vezechat.Status) string {
	switch s {
	case vezechat.StatusNew:
		return "New"
	case vezechat.StatusOpen:
		return "Open"
	case vezechat.StatusPending:
		return "Waiting for requester"
	case vezechat.StatusOnHold:
		return "On hold"
	case vezechat.StatusSolved:
		return "Solved"
	case vezechat.StatusClosed:
		return "Closed"
	}
	return string(s)
}

// metricName is how people call what is promised.
func metricName(m vezechat.Metric) string {
	return strings.ReplaceAll(string(m), "_", " ")
}

// dueOf is a clock as a page shows it.
func dueOf(c vezechat.Clock, now time.Time) Due {
	d := Due{What: metricName(c.Metric), At: c.DueAt}
	switch {
	case c.State == vezechat.ClockPaused:
		d.At, d.Kind, d.Text = time.Time{}, "paused", "paused"
	case c.State == vezechat.ClockCancelled:
		d.At, d.Kind, d.Text = time.Time{}, "late", "cancelled, was late"
	case c.State == vezechat.ClockMet && !c.BreachedAt.IsZero():
		d.At, d.Kind, d.Text = time.Time{}, "late", "met too late"
	case c.State == vezechat.ClockMet:
		d.At, d.Kind, d.Text = time.Time{}, "met", "met"
	case c.DueAt.IsZero():
		d.Kind, d.Text = "paused", "no target"
	default:
		d.Warn = c.DueAt.Add(-c.Target / 5)
		d.Text = dueIn(c.DueAt, now)
		switch {
		case !now.Before(c.DueAt):
			d.Kind = "late"
		case !now.Before(d.Warn):
			d.Kind = "warn"
		default:
			d.Kind = "run"
		}
	}
	return d
}

// sooner orders what is due by its time, and before what is not.
func sooner(a, b Due) int {
	if a.At.IsZero() != b.At.IsZero() {
		return b.At.Compare(a.At)
	}
	return a.At.Compare(b.At)
}

// dueIn says how far a time is away, as desk.js does.
func dueIn(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	left := t.Sub(now)
	if left < 0 {
		return span(-left) + " late"
	}
	return "in " + span(left)
}

// waited says how long ago a time is, nil for none.
func waited(t, now time.Time) *sinceView {
	if t.IsZero() {
		return nil
	}
	return &sinceView{t, span(max(0, now.Sub(t)))}
}

// span is a length of time in its largest two units.
func span(d time.Duration) string {
	s := int(d / time.Second)
	switch {
	case s < 60:
		return strconv.Itoa(s) + " s"
	case s < 3600:
		return strconv.Itoa(s/60) + " min"
	case s < 86400:
		return fmt.Sprintf("%d h %02d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}

// waitRange is an estimate in words, "" for none.
func waitRange(soon, late int) string {
	if soon == 0 && late == 0 {
		return ""
	}
	lo, hi := minutes(soon), minutes(late)
	switch {
	case hi <= 1:
		return "about a minute"
	case lo >= hi:
		return fmt.Sprintf("about %d minutes", hi)
	}
	return fmt.Sprintf("%d to %d minutes", lo, hi)
}

// minutes are whole ones from 1 on.
func minutes(s int) int { return max(1, (s+59)/60) }

// dayTime is a time with its day, and with its year unless that is now's.
func dayTime(t, now time.Time) string {
	if t, now = t.UTC(), now.UTC(); t.Year() != now.Year() {
		return t.Format("2 Jan 2006 15:04")
	}
	return t.UTC().Format("2 Jan 15:04")
}

// changeNames are the fields of a ticket that people care about in its history.
var changeNames = map[string]string{
	"status": "status", "priority": "priority", "queue_id": "queue", "assignee_id": "assignee", "subject": "subject", "tags": "tags", "skills": "skills",
	"custom": "fields", "wake_at": "put aside until", "merged_into": "merged into", "merged_from": "merged in", "close_reason": "closed as", "live": "live chat",
	"score": "rating", "comment": "comment", "split_to": "split to", "followed_by": "followed by", "link": "link", "watcher": "watcher", "message_id": "message",
}

// kindNames are what happened to a ticket, in words, where its kind does not say it.
var kindNames = map[string]string{
	"created": "Made", "followed_up": "Followed up", "split_off": "Split off another one", "updated": "Changed", "moved": "Moved on", "assigned": "Assigned",
	"unassigned": "Given back", "transferred": "Transferred", "merged": "Merged into another one", "merged_in": "Another one merged into this", "split": "Split",
	"commented": "Message", "replied": "Answered", "noted": "Note", "rated": "Rated", "linked": "Linked", "unlinked": "Link taken away", "watched": "Watched",
	"unwatched": "Not watched any more", "clock": "A clock", "silent": "Chat is silent", "deferred": "Chat became a ticket",
}

// clockWhy has the metrics of a clock's reason in words.
var clockWhy = strings.NewReplacer(string(vezechat.MetricFirstReply), metricName(vezechat.MetricFirstReply), string(vezechat.MetricNextReply), metricName(vezechat.MetricNextReply),
	" at 100 %", " is late", " at ", " has used ", " %", " % of its time")

// clock says what a clock did, and what it did to the ticket.
func (v *changeView) clock(c vezechat.TicketChange) {
	v.Why = clockWhy.Replace(c.Why)
	if _, moved := c.New["assignee_id"]; moved || len(c.Old["assignee_id"]) > 0 {
		v.What = "A clock took its assignee away"
	} else if len(c.New["queue_id"]) > 0 {
		v.What = "A clock moved it to another queue"
	}
}

// offer is what came of an offer, in words.
func (d TicketPage) offer(e vezechat.Event) changeView {
	v := changeView{At: e.At, Who: agentName(d.Agents, e.UserID)}
	switch e.Type {
	case vezechat.EventOfferMade:
		v.What, v.Who = "Offered to "+v.Who, "the hub"
	case vezechat.EventOfferAccepted:
		v.What = "Offer accepted"
	case vezechat.EventOfferDeclined:
		v.What = "Offer declined"
	default:
		v.What, v.Who = "Offer to "+v.Who+" "+cmp.Or(e.Reason, "expired"), "the hub"
	}
	return v
}

// agentStatus is how people call what an agent does.
func agentStatus(s vezechat.AgentStatus) string {
	switch s {
	case vezechat.AgentWrapUp:
		return "finishing"
	case vezechat.AgentNotResponding:
		return "not responding"
	}
	return string(s)
}

// change is a change of the ticket in words.
func (d TicketPage) change(c vezechat.TicketChange) changeView {
	v := changeView{At: c.At, Who: cmp.Or(c.Handle, "the hub"), What: cmp.Or(kindNames[c.Kind], strings.ReplaceAll(c.Kind, "_", " ")), Why: c.Why}
	if c.Kind == "clock" {
		v.clock(c)
	}
	keys := slices.Collect(maps.Keys(c.New))
	for k := range c.Old {
		if _, ok := c.New[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		name, ok := changeNames[k]
		if !ok || k == "message_id" || c.Kind == "created" && k != "queue_id" && k != "priority" {
			continue
		}
		v.More = append(v.More, fieldView{name, d.value(k, c.Old[k]), d.value(k, c.New[k])})
	}
	return v
}

// value is a field's value in words, nil for none.
func (d TicketPage) value(key string, raw json.RawMessage) *valueView {
	var x any
	if len(raw) == 0 || json.Unmarshal(raw, &x) != nil || x == nil {
		return nil
	}
	if n, ok := x.(float64); ok && n > 0 && isTicket(key) {
		id := vezechat.TicketID(n).String()
		return &valueView{Text: "#" + id, Href: d.Base + "/tickets/" + id}
	}
	if s, ok := x.(string); ok {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return &valueView{At: t}
		}
	}
	if text := d.words(key, x, raw); text != "" {
		return &valueView{Text: text}
	}
	return nil
}

// isTicket reports whether a field of the history is another ticket's number.
func isTicket(key string) bool {
	switch key {
	case "merged_into", "merged_from", "split_to", "followed_by":
		return true
	}
	return false
}

// mergedOf are the tickets that were merged into one, and its other links.
func mergedOf(links []vezechat.TicketLink, into vezechat.TicketID) (merged, others []vezechat.TicketLink) {
	for _, l := range links {
		if l.Kind == vezechat.LinkMerged && l.OtherID == into {
			merged = append(merged, l)
		} else {
			others = append(others, l)
		}
	}
	return merged, others
}

func (d TicketPage) words(key string, x any, raw json.RawMessage) string {
	switch v := x.(type) {
	case float64:
		switch {
		case v == 0:
			return ""
		case key == "assignee_id":
			return agentName(d.Agents, vezechat.UserID(v))
		case key == "queue_id":
			return queueName(d.Queues, vezechat.QueueID(v))
		}
	case string:
		return strings.ReplaceAll(v, "_", " ")
	case []any:
		var parts []string
		for _, p := range v {
			parts = append(parts, fmt.Sprint(p))
		}
		return strings.Join(parts, ", ")
	}
	return string(raw)
}

// customsOf are the ticket's fields with their values.
func customsOf(fields []vezechat.TicketField, custom vezechat.CustomJSON) []customView {
	have := map[string]any{}
	if len(custom) > 0 && json.Unmarshal(custom, &have) != nil {
		have = nil
	}
	var out []customView
	for _, f := range fields {
		v := customView{TicketField: f}
		if x, ok := have[f.Key]; ok {
			v.Value = fmt.Sprint(x)
		}
		out = append(out, v)
	}
	return out
}

// peopleOf counts agents by state, those first who take tickets.
func peopleOf(agents map[vezechat.AgentStatus]int) (list []string) {
	for _, s := range [...]vezechat.AgentStatus{vezechat.AgentOnline, vezechat.AgentWrapUp, vezechat.AgentBusy, vezechat.AgentAway, vezechat.AgentNotResponding, vezechat.AgentOffline} {
		if n := agents[s]; n > 0 {
			list = append(list, strconv.Itoa(n)+" "+agentStatus(s))
		}
	}
	return list
}

// MacroText is what a macro does besides its text.
func MacroText(m vezechat.Macro) string {
	if len(m.Actions) == 0 {
		return m.Name
	}
	return m.Name + " (" + strconv.Itoa(len(m.Actions)) + " actions)"
}

func queueName(list []vezechat.Queue, id vezechat.QueueID) string {
	for _, q := range list {
		if q.ID == id {
			return q.Name
		}
	}
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("queue %d", id)
}

func agentName(list []vezechat.Agent, id vezechat.UserID) string {
	for _, a := range list {
		if a.ID == id {
			return a.Handle
		}
	}
	return "user " + id.String()
}

// why says in words what routing has found.
func (v *ticketView) why() {
	w := v.Why
	if w == nil {
		return
	}
	switch {
	case w.State == vezechat.ItemNone && v.Ticket.Queue == 0:
		v.WhyText = "It is in no queue: nobody is asked. Give it to a queue, or take it."
	case w.State == vezechat.ItemNone:
		v.WhyText = "It waits for somebody else, so nobody is asked now."
	case w.State == vezechat.ItemOffered:
		v.WhyText = "It is offered to " + agentName(v.Agents, w.Agent) + " just now."
	case w.State == vezechat.ItemAssigned:
		v.WhyText = agentName(v.Agents, w.Agent) + " has it."
	case w.Agent != 0:
		v.WhyText = "It goes to " + agentName(v.Agents, w.Agent) + " next."
	case len(w.Verdicts) == 0:
		v.WhyText = "Nobody is in its queue."
	default:
		v.WhyText = "Nobody in its queue may take it now."
	}
	for _, x := range w.Verdicts {
		v.Reasons = append(v.Reasons, reasonView{agentName(v.Agents, x.Agent), v.reason(x), x.Until})
	}
}

func (v *ticketView) reason(x vezechat.Verdict) string {
	switch x.Reason {
	case "":
		return "may take it"
	case "requester":
		return "asked this"
	case "not_in_queue":
		return "is not in its queue"
	case "cannot_reply":
		return "may not reply"
	case "not_online":
		return "is " + strings.ReplaceAll(string(x.Status), "_", " ")
	case "held":
		return "another one is asked first, until"
	case "excluded":
		return "gave it back or let it pass, and is not asked again before"
	case "tier_closed":
		return fmt.Sprintf("is of tier %d, and tier %d is asked now", x.Have, x.Want)
	case "skill":
		name := fmt.Sprintf("skill %d", x.Skill)
		for _, k := range v.Skills {
			if k.ID == x.Skill {
				name = k.Name
			}
		}
		return fmt.Sprintf("has %s at level %d of %d", name, x.Have, x.Want)
	case "capacity":
		return fmt.Sprintf("has %d units free of the %d that it takes", x.Have, x.Want)
	}
	return string(x.Reason)
}
