package sla_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/sla"
)

// zones have every kind of change that clocks are put through.
var zones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "Europe/London", "Australia/Sydney",
	"Australia/Lord_Howe",  // by half an hour
	"America/St_Johns",     // at 00:01, until 2011
	"America/Sao_Paulo",    // at midnight: days of 23 hours begin at 01:00, until 2019
	"America/Havana",       // back over midnight's hour
	"Africa/Cairo",         // at midnight
	"Asia/Beirut",          // at midnight
	"Pacific/Apia",         // 2011-12-30 was left out
	"Pacific/Kwajalein",    // 1993-08-21 was left out
	"Africa/Casablanca",    // four changes in some years
	"Asia/Kathmandu",       // +05:45
	"America/Santiago",     // at midnight
	"Antarctica/Troll",     // by two hours
	"Asia/Tehran",          // at midnight, until 2022
	"America/Scoresbysund", // rules and zone changed at once
}

func anyCalendar(t *rapid.T) *vezechat.Calendar {
	c := &vezechat.Calendar{Name: "any", Zone: rapid.SampledFrom(zones).Draw(t, "zone")}
	wallTime := rapid.Custom(func(t *rapid.T) vezechat.WallTime {
		if rapid.Bool().Draw(t, "round") {
			return vezechat.WallTime(30 * rapid.IntRange(0, 47).Draw(t, "halves"))
		}
		return vezechat.WallTime(rapid.IntRange(0, vezechat.MinutesPerDay-1).Draw(t, "minute"))
	})
	closing := rapid.OneOf(wallTime, rapid.Just(vezechat.WallTime(vezechat.MinutesPerDay)))
	for range rapid.IntRange(1, 9).Draw(t, "intervals") {
		c.Hours = append(c.Hours, vezechat.Hours{
			Day: vezechat.Weekday(rapid.IntRange(0, 6).Draw(t, "day")), Open: wallTime.Draw(t, "open"), Close: closing.Draw(t, "close"),
		})
	}
	return c
}

// anyInstant is often near a change of the zone's clocks.
func anyInstant(t *rapid.T, zone *time.Location) time.Time {
	years := rapid.Int64Range(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	at := time.Unix(years.Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
	if _, end := at.In(zone).ZoneBounds(); !end.IsZero() && rapid.IntRange(0, 3).Draw(t, "near") > 0 {
		at = end.Add(time.Duration(rapid.IntRange(-40*3600, 40*3600).Draw(t, "s")) * time.Second)
	}
	return at.UTC()
}

// anyException adds dates around an instant.
func anyException(t *rapid.T, c *vezechat.Calendar, around time.Time) {
	day := vezechat.DateOf(around).Prev()
	for range rapid.IntRange(0, 4).Draw(t, "dates") {
		e := vezechat.Exception{Date: day}
		for range rapid.IntRange(0, 2).Draw(t, "special") {
			e.Hours = append(e.Hours, vezechat.Span{
				Open:  vezechat.WallTime(rapid.IntRange(0, vezechat.MinutesPerDay-1).Draw(t, "open")),
				Close: vezechat.WallTime(rapid.IntRange(0, vezechat.MinutesPerDay).Draw(t, "close")),
			})
		}
		c.Exceptions = append(c.Exceptions, e)
		day = day.Next()
	}
}

func TestHours_AgreeWithTheOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := anyCalendar(t)
		zone, err := time.LoadLocation(c.Zone)
		if err != nil {
			t.Fatal(err)
		}
		from := anyInstant(t, zone)
		anyException(t, c, from)
		h, err := sla.New(c)
		if err != nil {
			t.Fatal(err)
		}
		o := &oracle{c, zone}
		d := time.Duration(rapid.Int64Range(0, int64(60*time.Hour)).Draw(t, "d"))
		if rapid.Bool().Draw(t, "whole") {
			d = d.Truncate(30 * time.Minute)
		}
		const days = 200 // a week has at least a minute, and most have more
		want, ok := o.add(from, d, days)
		got, err := h.Add(from, d)
		if err != nil {
			t.Fatal(err)
		}
		if ok && !got.Equal(want) || !ok && got.Sub(from) < days*24*time.Hour {
			t.Fatalf("%s and %s are %s, want %s", from, d, got, want)
		}
		to := from.Add(time.Duration(rapid.Int64Range(0, int64(20*24*time.Hour)).Draw(t, "span")))
		if got, want := h.Between(from, to), o.between(from, to); got != want {
			t.Fatalf("between %s and %s are %s, want %s", from, to, got, want)
		}
		o.walk(from, func(m time.Time, open bool) bool {
			if h.Open(m) != open {
				t.Fatalf("at %s open is %v, want %v", m, !open, open)
			}
			return m.Sub(from) < 2*time.Hour
		})
	})
}

// Every minute of years, with each kind of change: nothing drifts.
func TestHours_Years(t *testing.T) {
	t.Parallel()
	for name, y := range map[string]int{
		"Europe/Berlin": 2026, "America/New_York": 2026, "Australia/Lord_Howe": 2026, "Africa/Casablanca": 2026,
		"America/Santiago": 2026, "America/St_Johns": 2010, "Pacific/Apia": 2011,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			c := calendar(name, "mon-fri 09:00-12:00", "mon-fri 13:00-17:30", "sat 22:00-06:00", "sun 00:30-02:30")
			h, err := sla.New(c)
			if err != nil {
				t.Fatal(err)
			}
			o := &oracle{c, zone}
			from := time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)
			day, sum := from, time.Duration(0)
			o.walk(from, func(m time.Time, open bool) bool {
				if m.Equal(day.Add(24 * time.Hour)) {
					if got := h.Between(day, m); got != sum {
						t.Errorf("%s: %s, want %s", day, got, sum)
					}
					day, sum = m, 0
				}
				if open {
					sum += time.Minute
				}
				return m.Year() == y
			})
		})
	}
}

// Add and Between are inverse to each other.
func TestHours_AddAndBetween(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := anyCalendar(t)
		zone, err := time.LoadLocation(c.Zone)
		if err != nil {
			t.Fatal(err)
		}
		h, err := sla.New(c)
		if err != nil {
			t.Fatal(err)
		}
		from := anyInstant(t, zone)
		d := time.Duration(rapid.Int64Range(1, int64(2000*time.Hour)).Draw(t, "d"))
		at, err := h.Add(from, d)
		if errors.Is(err, sla.ErrNever) {
			t.Skip("a minute a week takes longer")
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Between(from, at); got != d {
			t.Fatalf("between are %s, want %s", got, d)
		}
		if got := h.Between(from, at.Add(-1)); got != d-1 {
			t.Fatalf("a nanosecond earlier they are %s, want %s: %s is not the earliest", got, d-1, at)
		}
		part := time.Duration(rapid.Int64Range(0, int64(d)).Draw(t, "part"))
		half, err := h.Add(from, part)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := h.Add(half, d-part); err != nil || !again.Equal(at) {
			t.Fatalf("in two steps it is %s (%v), in one %s", again, err, at)
		}
	})
}

func TestHours_NextOpen(t *testing.T) {
	t.Parallel()
	h, err := sla.New(calendar("Europe/Berlin", "mon 09:00-12:00", "mon 13:00-17:00"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ at, want string }{
		{"2026-11-23T07:59:59Z", "2026-11-23T08:00:00Z"},
		{"2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z"},
		{"2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z"},
		{"2026-11-23T16:00:00Z", "2026-11-30T08:00:00Z"},
	} {
		if got, err := h.NextOpen(instant(t, tt.at)); err != nil || !got.Equal(instant(t, tt.want)) {
			t.Errorf("from %s it opens at %s (%v), want %s", tt.at, got, err, tt.want)
		}
	}
	var always *sla.Hours
	if at := instant(t, "2026-11-23T07:59:59Z"); !always.Open(at) {
		t.Error("no calendar is closed")
	}
}

// A calendar that will not open again says so; it does not search for ever.
func TestHours_Never(t *testing.T) {
	t.Parallel()
	// 02:00 to 02:30 on the Sunday on which there is no such hour, and no other.
	c := calendar("Europe/Berlin", "sun 02:00-02:30")
	day := vezechat.Date{Year: 2026, Month: 3, Day: 29}
	h, err := sla.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Between(instant(t, "2026-03-28T12:00:00Z"), instant(t, "2026-03-30T12:00:00Z")); got != 0 {
		t.Errorf("%s are open on %s, which has no such hour", got, day)
	}
	if _, err := h.Add(instant(t, "2026-03-28T12:00:00Z"), 1000*24*time.Hour); !errors.Is(err, sla.ErrNever) {
		t.Errorf("a thousand days of half an hour a week: %v", err)
	}
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
