package sla_test

import (
	"time"

	"vezeuniqverse.com/vezechat"
)

// oracle is what Hours compute, in the slowest and plainest way there is: it walks
// through the minutes with a clock on the wall in its hand, which stands still
// while the zone's clocks show what they have shown before, and looks at each
// minute whether somebody works. It shares no arithmetic with Hours.
type oracle struct {
	cal  *vezechat.Calendar
	zone *time.Location
}

// wall is what the clock shows.
type wall struct {
	date   vezechat.Date
	minute int
}

func (w wall) after(v wall) bool {
	a, b := w.date, v.date
	switch {
	case a.Year != b.Year:
		return a.Year > b.Year
	case a.Month != b.Month:
		return a.Month > b.Month
	case a.Day != b.Day:
		return a.Day > b.Day
	}
	return w.minute > v.minute
}

// walk calls fn with each minute's beginning and whether it is open, from the
// minute of from on, until fn returns false.
func (o *oracle) walk(from time.Time, fn func(t time.Time, open bool) bool) {
	var clock wall
	from = from.Truncate(time.Minute)
	// Two days earlier, so that the clock has seen all that could be repeated.
	for t := from.Add(-48 * time.Hour); ; t = t.Add(time.Minute) {
		local := t.In(o.zone)
		shown := wall{vezechat.DateOf(local), local.Hour()*60 + local.Minute()}
		if shown.after(clock) {
			clock = shown
		}
		if !t.Before(from) && !fn(t, o.works(clock)) {
			return
		}
	}
}

func (o *oracle) works(w wall) bool {
	own, exception := o.of(w.date)
	for _, s := range own {
		if w.minute >= int(s.Open) && (s.Close <= s.Open || w.minute < int(s.Close)) {
			return true
		}
	}
	if exception {
		return false
	}
	evening, _ := o.of(w.date.Prev())
	for _, s := range evening {
		if s.Close <= s.Open && w.minute < int(s.Close) {
			return true
		}
	}
	return false
}

func (o *oracle) of(d vezechat.Date) (spans []vezechat.Span, exception bool) {
	for _, e := range o.cal.Exceptions {
		if e.Date == d {
			return e.Hours, true
		}
	}
	for _, h := range o.cal.Hours {
		if time.Weekday(h.Day) == d.Weekday() {
			spans = append(spans, vezechat.Span{Open: h.Open, Close: h.Close})
		}
	}
	return spans, false
}

// between counts working time second by second of the minutes that it walks.
func (o *oracle) between(from, to time.Time) (sum time.Duration) {
	if !from.Before(to) {
		return 0
	}
	o.walk(from, func(t time.Time, open bool) bool {
		if !t.Before(to) {
			return false
		}
		if open {
			begin, end := t, t.Add(time.Minute)
			if begin.Before(from) {
				begin = from
			}
			if to.Before(end) {
				end = to
			}
			sum += end.Sub(begin)
		}
		return true
	})
	return sum
}

// add walks until d has passed; never more than a number of days.
func (o *oracle) add(from time.Time, d time.Duration, days int) (at time.Time, ok bool) {
	if d <= 0 {
		return from, true
	}
	o.walk(from, func(t time.Time, open bool) bool {
		if open {
			begin, end := t, t.Add(time.Minute)
			if begin.Before(from) {
				begin = from
			}
			if end.Sub(begin) >= d {
				at, ok = begin.Add(d), true
				return false
			}
			d -= end.Sub(begin)
		}
		return t.Sub(from) < time.Duration(days)*24*time.Hour
	})
	return at, ok
}
