package sla

import (
	"errors"
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Hours are the working hours of a calendar: a set of half-open intervals of
// instants. They are immutable and safe for concurrent use. Nil Hours are always
// open.
//
// A time of the wall is the first instant at which the zone's clocks show it or a
// later time of that date: where clocks are set back it is the earlier of two,
// where they are set forward over it, the moment of the change. (RFC 5545 §3.3.5
// has the same rule for the first and another for the second; this one keeps a
// night shift from working an hour that no clock shows.)
type Hours struct {
	zone  *time.Location
	week  [7][]vezechat.Span
	dates map[vezechat.Date][]vezechat.Span
}

// ErrNever says that hours do not open again within the horizon, some ten years.
var ErrNever = errors.New("the calendar does not open again")

// horizon is how far Add looks.
const horizon = 10*366 + 1 // days

// New returns the hours of a calendar. It fails as Calendar.Validate does.
func New(c *vezechat.Calendar) (*Hours, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	zone, err := vezechat.LoadZone(c.Zone)
	if err != nil {
		return nil, err
	}
	h := &Hours{zone: zone, dates: make(map[vezechat.Date][]vezechat.Span, len(c.Exceptions))}
	for _, o := range c.Hours {
		h.week[o.Day] = append(h.week[o.Day], vezechat.Span{Open: o.Open, Close: o.Close})
	}
	for _, e := range c.Exceptions {
		h.dates[e.Date] = e.Hours
	}
	return h, nil
}

// interval is from an instant up to another, which is not in it.
type interval struct{ from, to time.Time }

// Add returns the earliest instant, not before from, at which d of working time
// has passed since from; from itself for a d of zero or less. It fails with
// ErrNever.
func (h *Hours) Add(from time.Time, d time.Duration) (time.Time, error) {
	if h == nil || d <= 0 {
		return from.Add(max(0, d)), nil
	}
	for day, n := h.dayOf(from), 0; n < horizon; day, n = day.Next(), n+1 {
		for _, iv := range h.open(day) {
			worked := overlap(iv, from, iv.to)
			if worked >= d {
				return latest(iv.from, from).Add(d), nil
			}
			d -= worked
		}
	}
	return time.Time{}, ErrNever
}

// Between returns the working time from one instant to another; zero when to is
// not after from.
func (h *Hours) Between(from, to time.Time) (sum time.Duration) {
	if !from.Before(to) {
		return 0
	}
	if h == nil {
		return to.Sub(from)
	}
	for day := h.dayOf(from); ; day = day.Next() {
		if !h.instant(day, 0).Before(to) {
			return sum
		}
		for _, iv := range h.open(day) {
			sum += overlap(iv, from, to)
		}
	}
}

// Open reports whether t is within the hours.
func (h *Hours) Open(t time.Time) bool {
	if h == nil {
		return true
	}
	return slices.ContainsFunc(h.open(h.dayOf(t)), func(iv interval) bool {
		return !t.Before(iv.from) && t.Before(iv.to)
	})
}

// NextOpen returns the earliest instant, not before t, that is within the hours.
// It fails with ErrNever.
func (h *Hours) NextOpen(t time.Time) (time.Time, error) {
	if h == nil {
		return t, nil
	}
	for day, n := h.dayOf(t), 0; n < horizon; day, n = day.Next(), n+1 {
		for _, iv := range h.open(day) {
			if t.Before(iv.to) {
				return latest(iv.from, t), nil
			}
		}
	}
	return time.Time{}, ErrNever
}

// dayOf returns the date that t belongs to: the one whose midnight (see instant) was
// last. Where clocks are set back over midnight they show the day before once more.
func (h *Hours) dayOf(t time.Time) vezechat.Date {
	day := vezechat.DateOf(t.In(h.zone))
	for h.instant(day, 0).After(t) {
		day = day.Prev()
	}
	for !h.instant(day.Next(), 0).After(t) {
		day = day.Next()
	}
	return day
}

// open returns what is open of one date, from its first instant to the next
// date's: sorted, apart from each other, none empty. It is the date's own hours
// and, unless the date is an exception, what the day before has left to it.
func (h *Hours) open(day vezechat.Date) []interval {
	begin, end := h.instant(day, 0), h.instant(day.Next(), 0)
	var all []interval
	add := func(of vezechat.Date, spans []vezechat.Span) {
		for _, s := range spans {
			iv := interval{latest(begin, h.at(of, int(s.Open))), earliest(end, h.at(of, s.Ends()))}
			if iv.from.Before(iv.to) {
				all = append(all, iv)
			}
		}
	}
	own, exception := h.spans(day)
	if !exception {
		before := day.Prev()
		spilt, _ := h.spans(before)
		add(before, spilt)
	}
	add(day, own)
	return merged(all)
}

// spans returns the intervals that begin on a date, and whether it is an exception.
func (h *Hours) spans(day vezechat.Date) (spans []vezechat.Span, exception bool) {
	if s, ok := h.dates[day]; ok {
		return s, true
	}
	return h.week[day.Weekday()], false
}

// at returns the instant of a minute after a date's midnight, which may be one of
// the next date.
func (h *Hours) at(day vezechat.Date, minute int) time.Time {
	if minute >= vezechat.MinutesPerDay {
		return h.instant(day.Next(), minute-vezechat.MinutesPerDay)
	}
	return h.instant(day, minute)
}

// farthest is more than any zone has been from UTC.
const farthest = 30 * time.Hour

// instant returns the first instant at which the zone's clocks show a minute of a
// date, or later. Between two changes of the zone's offset clocks run evenly, so
// that it is in the first such stretch that ends after the wanted time.
func (h *Hours) instant(day vezechat.Date, minute int) time.Time {
	wall := time.Date(day.Year, day.Month, day.Day, 0, minute, 0, 0, time.UTC)
	for t := wall.Add(-farthest).In(h.zone); ; {
		_, offset := t.Zone()
		start, end := t.ZoneBounds()
		at := wall.Add(-time.Duration(offset) * time.Second)
		if !start.IsZero() && at.Before(start) {
			return start.UTC() // clocks were set forward over it
		}
		if end.IsZero() || at.Before(end) {
			return at
		}
		t = end
	}
}

// merged sorts intervals and joins those that meet or overlap.
func merged(all []interval) []interval {
	slices.SortFunc(all, func(a, b interval) int { return a.from.Compare(b.from) })
	out := all[:0]
	for _, iv := range all {
		if n := len(out); n > 0 && !out[n-1].to.Before(iv.from) {
			out[n-1].to = latest(out[n-1].to, iv.to)
			continue
		}
		out = append(out, iv)
	}
	return out
}

// overlap is how much of an interval lies from one instant to another.
func overlap(iv interval, from, to time.Time) time.Duration {
	return max(0, earliest(iv.to, to).Sub(latest(iv.from, from)))
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
