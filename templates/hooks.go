package templates

import (
	"io"
	"slices"
	"strings"

	"vezeuniqverse.com/vezechat"
)

// HooksPage is where who runs a room, or an administrator for the whole hub, makes hooks
// and looks at them.
type HooksPage struct {
	Page
	Room     *vezechat.Room // nil: the whole hub, which has outgoing ones only
	Incoming []vezechat.IncomingHook
	Outgoing []vezechat.OutgoingHook
	Types    []vezechat.EventType // that hooks are told of
	Nonce    string               // of the forms: sending one twice makes one hook

	Name, URL string // what was typed into the form that failed; with a URL that of an outgoing hook
	Chosen    string // and its events, with commas

	MadeName string // of the hook that was just made or given another secret
	Address  string // shown once
	Secret   string // shown once

	Hook       *vezechat.OutgoingHook // whose deliveries are shown
	Deliveries []vezechat.Delivery
}

// At is where the forms lead: below the room or /admin.
func (d HooksPage) At() string {
	if d.Room == nil {
		return d.Base + "/admin/hooks"
	}
	return d.Base + "/rooms/" + d.Room.ID.String() + "/hooks"
}

// ToOutgoing is where an outgoing hook is made.
func (d HooksPage) ToOutgoing() string {
	if d.Room == nil {
		return d.At()
	}
	return d.At() + "/outgoing"
}

// Has reports whether the form that failed asked for events of type t.
func (d HooksPage) Has(t vezechat.EventType) bool {
	return slices.Contains(strings.Split(d.Chosen, ","), string(t))
}

// Hooks writes the page of hooks.
func (p *Pages) Hooks(w io.Writer, d HooksPage) error { return p.write(w, "hooks", d) }
