package work

import (
	"time"
)

const stopWithin = 20 * time.Second

// Scale is how large the works are.
type Scale struct {
	Room     int           // sockets of the one room
	Rates    []float64     // messages a second in it
	Window   time.Duration // of a figure
	Warm     time.Duration
	Step     time.Duration // of a ramp
	Steps    int           // most steps of a ramp
	Settle   time.Duration // for deliveries after the last message
	Rooms    int           // small rooms, of 4 sockets each
	Hot      int           // sockets of the room that is busy beside small ones
	Stalled  int           // more of them that stop reading
	Lines    float64       // that games say a second
	Idle     int           // sockets that do nothing
	IdleWait time.Duration
	Back     int // sockets that come back
	Turns    int // how often they do
	Missed   int // messages of each room that they missed
	Stored   int // events to store, and to mirror
	Rows     int // messages in the database of the history works
	Pages    int // asked for
}

// Full is what figures are taken with.
func Full() Scale {
	return Scale{
		Room: 1000, Rates: []float64{50, 200}, Window: 10 * time.Second, Warm: 2 * time.Second, Step: 2 * time.Second, Steps: 22,
		Settle: 10 * time.Second, Rooms: 500, Hot: 200, Stalled: 50, Lines: 5000, Idle: 9900, IdleWait: 10 * time.Second, Back: 5000, Turns: 5, Missed: 10,
		Stored: 200_000, Rows: 10_000_000, Pages: 2000,
	}
}

// Short only shows that every work runs.
func Short() Scale {
	return Scale{
		Room: 20, Rates: []float64{50, 200}, Window: 200 * time.Millisecond, Warm: 50 * time.Millisecond, Step: 100 * time.Millisecond, Steps: 2,
		Settle: 5 * time.Second, Rooms: 5, Hot: 8, Stalled: 3, Lines: 500, Idle: 50, IdleWait: 50 * time.Millisecond, Back: 40, Turns: 2, Missed: 3,
		Stored: 2000, Rows: 2000, Pages: 20,
	}
}
