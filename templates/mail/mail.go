// Package mail is what people read of the hub in their mailbox: the subject, the text
// and the HTML of an e-mail, made of a draft.
//
// It promises that whatever people typed comes out as text, in both forms; that a subject
// is one line without control characters, however a ticket is called; and that the same
// draft is the same bytes. It must not know how e-mails are sent, nor where drafts come
// from.
package mail

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"unicode"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

//go:embed *.tmpl
var files embed.FS

// maxSubject bounds a subject, in characters.
const maxSubject = 180

// Places are where an e-mail leads.
type Places struct {
	Link        string // to what it tells of; empty: the hub has no address
	Unsubscribe string // empty: not by a link
	Answer      bool   // an answer by e-mail is read
}

// Mail is an e-mail's content.
type Mail struct {
	Subject string
	Text    string
	HTML    string
}

// Renderer renders drafts. It is safe for concurrent use.
type Renderer struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

// New parses the embedded templates. An error is a defect of the build.
func New() (*Renderer, error) {
	text, err := texttemplate.New("mail.txt.tmpl").Option("missingkey=error").ParseFS(files, "mail.txt.tmpl")
	if err != nil {
		return nil, fmt.Errorf("parse the text of e-mails: %w", err)
	}
	html, err := htmltemplate.New("mail.html.tmpl").Option("missingkey=error").ParseFS(files, "mail.html.tmpl")
	if err != nil {
		return nil, fmt.Errorf("parse the HTML of e-mails: %w", err)
	}
	return &Renderer{text, html}, nil
}

// view is a draft as the templates see it.
type view struct {
	Places
	Marker  string
	Heading string
	Lines   []line
	More    int
	What    string // what one may unsubscribe from
}

type line struct {
	Head string
	Text string
	Cut  bool
}

// Render renders a draft. An error is a defect of the templates.
func (r *Renderer) Render(d vezechat.EmailDraft, p Places) (Mail, error) {
	v := view{Places: p, Marker: vezechat.EmailMarker, More: d.More, What: "tickets", Heading: fmt.Sprintf("Ticket %d: %s", d.Ticket.ID, oneLine(d.Ticket.Subject))}
	subject := fmt.Sprintf("[Ticket %d] %s", d.Ticket.ID, d.Ticket.Subject)
	if d.Kind == vezechat.EmailDM {
		v.What, v.Heading = "direct messages", oneLine(d.From+" wrote to you")
		subject = v.Heading
	}
	for _, l := range d.Lines {
		v.Lines = append(v.Lines, line{Head: oneLine(head(d, l)), Text: plain(l.Text), Cut: l.Cut})
	}
	var text, html bytes.Buffer
	if err := r.text.Execute(&text, v); err != nil {
		return Mail{}, fmt.Errorf("render the text of an e-mail: %w", err)
	}
	if err := r.html.Execute(&html, v); err != nil {
		return Mail{}, fmt.Errorf("render the HTML of an e-mail: %w", err)
	}
	return Mail{Subject: clip(oneLine(subject)), Text: text.String(), HTML: html.String()}, nil
}

// head says what has happened.
func head(d vezechat.EmailDraft, l vezechat.EmailLine) string {
	by := ""
	if l.By != "" {
		by = " by " + l.By
	}
	switch l.Type {
	case vezechat.EventTicketCreated:
		return "The ticket was made" + by + "."
	case vezechat.EventTicketAssigned:
		if d.Requester {
			return "Somebody of the team takes care of it."
		}
		return "The ticket is yours."
	case vezechat.EventTicketSolved:
		return "The ticket was solved" + by + "."
	case vezechat.EventTicketReopened:
		return "The ticket was opened again" + by + "."
	case vezechat.EventTicketMerged:
		return fmt.Sprintf("The ticket goes on as ticket %d.", d.Ticket.MergedInto)
	case vezechat.EventClockBreached:
		return "The ticket is late."
	case vezechat.EventTicketCommented:
		if l.Note {
			return l.By + " noted for the team:"
		}
		return l.By + " wrote:"
	}
	return l.By + " wrote:"
}

// oneLine makes one line of what people typed, without characters that a mail program
// would not show as what they are.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) || r == 0x2028 || r == 0x2029:
			return ' '
		case r == 0x202D || r == 0x202E:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))), " ")
}

// plain keeps the lines of a text, and takes the other control characters out of it. A line
// like the marker in it would cut an answer short, and loses its beginning.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD"))
	return strings.ReplaceAll(s, "##-", "#-")
}

func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxSubject {
		return s
	}
	return string([]rune(s)[:maxSubject-1]) + "…"
}
