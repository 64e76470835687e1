package templates

import (
	"io"

	"vezeuniqverse.com/vezechat"
)

// EmailsPage is where administrators see which e-mails were not sent, and have them tried
// again.
type EmailsPage struct {
	Page
	Emails []vezechat.Email
	State  vezechat.EmailState // of those that are shown
	Before vezechat.EmailID    // where older ones begin; 0: there are none
}

// States are what may be shown.
func (EmailsPage) States() []vezechat.EmailState {
	return []vezechat.EmailState{vezechat.EmailDead, vezechat.EmailReady, vezechat.EmailCollecting, vezechat.EmailSent}
}

// Retries reports whether an e-mail may be tried again.
func (EmailsPage) Retries(m vezechat.Email) bool {
	return m.State == vezechat.EmailDead || m.State == vezechat.EmailReady
}

// UnsubscribePage asks whether somebody wants no more e-mails, or says that they get none.
type UnsubscribePage struct {
	Page
	Kind   vezechat.EmailKind
	Action string // where the answer goes
	Done   bool
}

// Emails writes the page of e-mails.
func (p *Pages) Emails(w io.Writer, d EmailsPage) error { return p.write(w, "emails", d) }

// Unsubscribe writes the page to unsubscribe.
func (p *Pages) Unsubscribe(w io.Writer, d UnsubscribePage) error {
	return p.write(w, "unsubscribe", d)
}
