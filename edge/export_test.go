package edge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// MountEcho serves sockets at /ws/echo that are given back what they say: the
// real upgrade and the real read loop, without what a request means. They may
// send messages of limit bytes, and so may all sockets of this edge.
func (e *Edge) MountEcho(limit int64) {
	e.maxFrame = limit
	e.app.Get("/ws/echo", e.upgrade(func(hc *hub.Conn, _ *start) func(wire.Message) {
		return func(m wire.Message) {
			if m.Kind == wire.KindText {
				hc.SendRaw(wire.AppendText(nil, m.Data))
			} else {
				hc.SendRaw(wire.AppendBinary(nil, m.Data))
			}
		}
	}))
}

// MountPanic serves sockets at /ws/panic whose handler has a defect.
func (e *Edge) MountPanic() {
	e.app.Get("/ws/panic", e.upgrade(func(*hub.Conn, *start) func(wire.Message) {
		return func(wire.Message) { panic("a defect") }
	}))
}

// MaxFlags is of how many messages moderators can be still to be told.
const MaxFlags = maxFlags

// Sockets is how many are open.
func (e *Edge) Sockets() int64 { return e.sockets.Load() }

// GuestRoutes are the routes that a guest may use.
func GuestRoutes() map[string]bool { return guestRoutes }

// DutyAt beats the sessions that are due at a time, and returns how many.
func (e *Edge) DutyAt(at time.Time) int { return e.duty.turn(e.base, at) }

// TestDoor is a door by itself.
type TestDoor struct{ d *door }

// NewTestDoor returns a door without an edge.
func NewTestDoor(l DoorLimits, reg prometheus.Registerer) TestDoor { return TestDoor{newDoor(l, reg)} }

// Take counts one of something.
func (t TestDoor) Take(r Rate, address string, now time.Time) error {
	return t.d.take(doorAnonymous, r, address, now)
}

// Remembered is how many entries there are.
func (t TestDoor) Remembered() int { return len(t.d.cur) + len(t.d.old) }

// DoorRefusals counts what the door has refused for a limit.
func (e *Edge) DoorRefusals(limit string) prometheus.Counter {
	return e.door.refused.WithLabelValues(limit)
}
