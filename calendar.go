package vezechat

import (
	"strings"
	"time"
)

// Identifiers of the desk's settings; they are assigned by PostgreSQL.
type (
	// CalendarID identifies a business calendar.
	CalendarID int64
	// PolicyID identifies a service-level policy.
	PolicyID int64
)

// Limits of calendars.
const (
	MaxCalendarHours = 7 * 12 // intervals of a week
	MaxExceptions    = 1000   // dates
	MaxDeskName      = 80     // characters in the name of a calendar, queue, skill, policy or macro
)

// Calendar says when a desk works, in the wall time of a zone.
type Calendar struct {
	ID    CalendarID `json:"id"`
	Name  string     `json:"name"`
	Zone  string     `json:"zone"`  // of the IANA time zone database, as Europe/Berlin
	Hours []Hours    `json:"hours"` // of every week; several a day

	// Exceptions replace what the week says about their dates, from midnight to
	// midnight: a date without hours is closed, the night shift that began the
	// evening before included.
	Exceptions []Exception `json:"exceptions,omitempty"`
}

// Hours is an interval in which a desk is open each week. One that does not close
// after it opens ends on the next day: 22:00 to 06:00 is a night, 00:00 to 00:00
// and 00:00 to 24:00 are a whole day.
type Hours struct {
	Day   Weekday  `json:"day"`
	Open  WallTime `json:"open"`
	Close WallTime `json:"close"`
}

// Exception is what is open on one date, instead of what its weekday says.
type Exception struct {
	Date  Date   `json:"date"`
	Name  string `json:"name,omitempty"`
	Hours []Span `json:"hours,omitempty"` // none: closed
}

// Span is an interval of a day, in the form of Hours.
type Span struct {
	Open  WallTime `json:"open"`
	Close WallTime `json:"close"`
}

// Ends returns the minute after the midnight before the interval at which it
// ends: above MinutesPerDay when that is on the next day.
func (s Span) Ends() int {
	if s.Close <= s.Open {
		return int(s.Close) + MinutesPerDay
	}
	return int(s.Close)
}

// MinutesPerDay is how many minutes a clock on the wall shows.
const MinutesPerDay = 24 * 60

// WallTime is a time of day in minutes after midnight, 0 to MinutesPerDay. As text
// it is "09:30"; "24:00" is the end of a day.
type WallTime int

// ParseWallTime reads "HH:MM", from 00:00 to 24:00. Anything else is a
// CodeBadRequest error.
func ParseWallTime(s string) (WallTime, error) {
	bad := Errorf(CodeBadRequest, "not a time of day: %q, want HH:MM from 00:00 to 24:00", Clip(s, 16))
	if len(s) != 5 || s[2] != ':' {
		return 0, bad
	}
	for _, i := range [...]int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, bad
		}
	}
	hours, minutes := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	t := WallTime(hours*60 + minutes)
	if minutes > 59 || t > MinutesPerDay {
		return 0, bad
	}
	return t, nil
}

// String returns "HH:MM".
func (t WallTime) String() string {
	b := []byte{'0' + byte(t/600%10), '0' + byte(t/60%10), ':', '0' + byte(t%60/10), '0' + byte(t%60%10)}
	return string(b)
}

// MarshalText writes "HH:MM".
func (t WallTime) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what ParseWallTime does.
func (t *WallTime) UnmarshalText(b []byte) (err error) {
	*t, err = ParseWallTime(string(b))
	return err
}

// Date is a day of the Gregorian calendar, in no zone.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf returns the date that a clock in t's zone shows.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// ParseDate reads "2006-01-02". Anything else, or a date that does not exist, is a
// CodeBadRequest error.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, Errorf(CodeBadRequest, "not a date: %q, want YYYY-MM-DD", Clip(s, 16))
	}
	return DateOf(t), nil
}

// Next returns the day after.
func (d Date) Next() Date { return d.plus(1) }

// Prev returns the day before.
func (d Date) Prev() Date { return d.plus(-1) }

func (d Date) plus(n int) Date {
	return DateOf(time.Date(d.Year, d.Month, d.Day+n, 0, 0, 0, 0, time.UTC))
}

// Weekday returns the date's day of the week.
func (d Date) Weekday() time.Weekday {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Weekday()
}

// String returns "2006-01-02".
func (d Date) String() string {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// MarshalText writes "2006-01-02".
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDate does.
func (d *Date) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDate(string(b))
	return err
}

// Weekday is a day of the week. As text it is "mon" to "sun".
type Weekday time.Weekday

var weekdays = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWeekday reads "mon" to "sun". Anything else is a CodeBadRequest error.
func ParseWeekday(s string) (Weekday, error) {
	for i, name := range weekdays {
		if s == name {
			return Weekday(i), nil
		}
	}
	return 0, Errorf(CodeBadRequest, "not a day of the week: %q, want mon to sun", Clip(s, 16))
}

// String returns "mon" to "sun".
func (d Weekday) String() string {
	if d < 0 || int(d) >= len(weekdays) {
		return "?"
	}
	return weekdays[d]
}

// MarshalText writes "mon" to "sun".
func (d Weekday) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseWeekday does.
func (d *Weekday) UnmarshalText(b []byte) (err error) {
	*d, err = ParseWeekday(string(b))
	return err
}

// Validate returns nil when the calendar can be worked with, else CodeBadRequest
// with what is wrong: its zone is unknown, it is never open, a time is out of
// range, a date has two exceptions, or there is too much of something. A calendar
// that is never open is refused, as nothing would ever be due by it.
func (c *Calendar) Validate() error {
	if err := checkDeskName("calendar", c.Name); err != nil {
		return err
	}
	if _, err := LoadZone(c.Zone); err != nil {
		return err
	}
	switch {
	case len(c.Hours) == 0:
		return Errorf(CodeBadRequest, "hours: a calendar is open at some time of the week")
	case len(c.Hours) > MaxCalendarHours:
		return Errorf(CodeBadRequest, "hours: at most %d intervals", MaxCalendarHours)
	case len(c.Exceptions) > MaxExceptions:
		return Errorf(CodeBadRequest, "exceptions: at most %d", MaxExceptions)
	}
	for _, h := range c.Hours {
		if h.Day < 0 || h.Day > 6 {
			return Errorf(CodeBadRequest, "hours: not a day of the week: %d", int(h.Day))
		}
		if err := (Span{h.Open, h.Close}).validate(); err != nil {
			return err
		}
	}
	seen := map[Date]bool{}
	for _, e := range c.Exceptions {
		if seen[e.Date] {
			return Errorf(CodeBadRequest, "exceptions: %s is there twice", e.Date)
		}
		seen[e.Date] = true
		if len(e.Hours) > MaxCalendarHours/7 {
			return Errorf(CodeBadRequest, "exceptions: %s: at most %d intervals", e.Date, MaxCalendarHours/7)
		}
		for _, s := range e.Hours {
			if err := s.validate(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s Span) validate() error {
	if s.Open < 0 || s.Open >= MinutesPerDay || s.Close < 0 || s.Close > MinutesPerDay {
		return Errorf(CodeBadRequest, "hours: %s to %s is not within a day", s.Open, s.Close)
	}
	return nil
}

// LoadZone returns a zone of the IANA time zone database. CodeBadRequest: it is
// not known; "Local" is not, as it would mean another zone on each machine.
func LoadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, Errorf(CodeBadRequest, "zone: want the name of a time zone, as Europe/Berlin")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, WrapError(CodeBadRequest, err, "zone: %q is not a known time zone", Clip(name, 64))
	}
	return loc, nil
}

func checkDeskName(noun, name string) error {
	switch n := len([]rune(name)); {
	case strings.TrimSpace(name) == "":
		return Errorf(CodeBadRequest, "name: a %s needs one", noun)
	case n > MaxDeskName:
		return Errorf(CodeTooLarge, "name: a %s's has at most %d characters", noun, MaxDeskName)
	}
	return nil
}
