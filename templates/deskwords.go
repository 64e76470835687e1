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

// waited says how long ago a time is, "" for none.
func waited(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(max(0, now.Sub(t)))
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

// dayTime is a time with its day.
func dayTime(t time.Time) string { return t.UTC().Format("2 Jan 15:04") }

// changeNames are the fields of a ticket that people care about in its history.
var changeNames = map[string]string{
	"status": "status", "priority": "priority", "queue_id": "queue", "assignee_id": "assignee", "subject": "subject", "tags": "tags", "skills": "skills",
	"custom": "fields", "wake_at": "put aside until", "merged_into": "merged into", "close_reason": "closed as", "live": "live chat",
	"score": "rating", "comment": "comment", "split_to": "split to", "followed_by": "followed by", "link": "link", "watcher": "watcher", "message_id": "message",
}

// change is a change of the ticket in words.
func (d TicketPage) change(c vezechat.TicketChange) changeView {
	v := changeView{At: c.At, Who: cmp.Or(c.Handle, "the hub"), What: strings.ReplaceAll(c.Kind, "_", " "), Why: c.Why}
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
		was, now := d.value(k, c.Old[k]), d.value(k, c.New[k])
		if was != "" {
			was += " → "
		}
		v.More = append(v.More, name+": "+was+cmp.Or(now, "none"))
	}
	return v
}

// value is a field's value in words.
func (d TicketPage) value(key string, raw json.RawMessage) string {
	var x any
	if len(raw) == 0 || json.Unmarshal(raw, &x) != nil || x == nil {
		return ""
	}
	switch n, isNumber := x.(float64); {
	case isNumber && n == 0:
		return ""
	case isNumber && key == "assignee_id":
		return agentName(d.Agents, vezechat.UserID(n))
	case isNumber && key == "queue_id":
		return queueName(d.Queues, vezechat.QueueID(n))
	}
	switch s := x.(type) {
	case string:
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return dayTime(t)
		}
		return strings.ReplaceAll(s, "_", " ")
	case []any:
		var parts []string
		for _, p := range s {
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
