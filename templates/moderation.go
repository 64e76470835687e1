package templates

import (
	"io"

	"vezeuniqverse.com/vezechat"
)

// QueuePage is what waits for moderators, or is done.
type QueuePage struct {
	Page
	Queue vezechat.CasePage
	State vezechat.CaseState // that was asked for
	Kind  vezechat.CaseKind
	Next  string // the query of the page that follows; "": there is none
}

// Kinds are the kinds of cases.
func (QueuePage) Kinds() []vezechat.CaseKind {
	return []vezechat.CaseKind{vezechat.CaseReport, vezechat.CaseHeld, vezechat.CaseFlag, vezechat.CaseAppeal}
}

// AuditPage is a page of the audit log.
type AuditPage struct {
	Page
	Entries []vezechat.AuditEntry
	Next    string            // the query of the page that follows; "": there is none
	Asked   map[string]string // what the form says
}

// Actions are what the audit log has.
func (AuditPage) Actions() []vezechat.ModKind {
	return append(vezechat.ModKinds(), vezechat.ModKick, vezechat.ModRules, vezechat.ModDesk)
}

// RulesPage is the rules of the guards, as JSON.
type RulesPage struct {
	Page
	Version int64
	Doc     string
	May     bool // change them
}

// HeldPage is what was held or hidden of its viewer's messages.
type HeldPage struct {
	Page
	Held []vezechat.Held
}

// Moderates reports whether a moderator of the hub looks at the page.
func (p Page) Moderates() bool { return p.Me.Staff() }

// Queue writes the queue of moderators.
func (p *Pages) Queue(w io.Writer, d QueuePage) error { return p.write(w, "queue", d) }

// Audit writes a page of the audit log.
func (p *Pages) Audit(w io.Writer, d AuditPage) error { return p.write(w, "audit", d) }

// Rules writes the page of the guards' rules.
func (p *Pages) Rules(w io.Writer, d RulesPage) error { return p.write(w, "rules", d) }

// Held writes the page of one's own held and hidden messages.
func (p *Pages) Held(w io.Writer, d HeldPage) error { return p.write(w, "held", d) }
