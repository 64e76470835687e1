// Package templates is what a browser sees of the hub: server-rendered pages with
// one typed render function each, and the style sheet and ECMAScript modules
// they use.
//
// It promises that every page holds under the policy [CSP] (no inline script,
// style or handler), that whatever people typed comes out as text or as the
// small markdown subset of messages, that every address in a page starts with
// the page's Base, and that each form carries the CSRF token. Messages look the
// same whether the server rendered them or the browser did: both follow the
// vectors in testdata.
//
// It must not know HTTP, sessions or services: callers gather the data and say
// what the viewer may do.
package templates

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// CSP is the Content-Security-Policy that every page is written for.
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	formAction + "; base-uri 'none'; frame-ancestors 'none'"

const formAction = "form-action 'self'"

// FormsTo is CSP with another origin to which a form's answer may lead.
func FormsTo(origin string) string {
	return strings.Replace(CSP, formAction, formAction+" "+origin, 1)
}

//go:embed html/*.gohtml
var htmlFiles embed.FS

// Config says how pages are made.
type Config struct {
	// Now is the clock that "today" and relative times are told by; nil: time.Now.
	Now func() time.Time
}

// Pages renders the pages. It is safe for concurrent use.
type Pages struct {
	now    func() time.Time
	md     *markdown
	static *Static
	tpl    map[string]*template.Template
}

// New parses the embedded templates and fingerprints the static files. An error
// is a defect of the build.
func New(cfg Config) (*Pages, error) {
	static, err := newStatic()
	if err != nil {
		return nil, err
	}
	p := &Pages{now: cfg.Now, md: newMarkdown(), static: static, tpl: map[string]*template.Template{}}
	if p.now == nil {
		p.now = time.Now
	}
	funcs := template.FuncMap{"asset": static.Asset, "iso": iso, "clock": clock, "kind": kindName, "status": statusName, "day": func(t time.Time) string { return dayTime(t, p.now()) }, "macro": MacroText, "agent": agentStatus}
	for _, name := range []string{"rooms", "room", "signin", "signedout", "error", "docs", "inbox", "ticket", "request", "tickets", "support", "keys", "hooks", "queue", "audit", "rules", "held", "emails", "unsubscribe"} {
		t, err := template.New("layout.gohtml").Funcs(funcs).Option("missingkey=error").
			ParseFS(htmlFiles, "html/layout.gohtml", "html/message.gohtml", "html/desk.gohtml", "html/"+name+".gohtml")
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", name, err)
		}
		p.tpl[name] = t
	}
	return p, nil
}

// Static returns the files that pages refer to.
func (p *Pages) Static() *Static { return p.static }

// Rooms writes the list of rooms.
func (p *Pages) Rooms(w io.Writer, d RoomsPage) error {
	return p.write(w, "rooms", p.roomsView(d))
}

// Room writes one room.
func (p *Pages) Room(w io.Writer, d RoomPage) error {
	v, err := p.roomView(d)
	if err != nil {
		return err
	}
	return p.write(w, "room", v)
}

// SignIn writes the sign-in page of the dev issuer.
func (p *Pages) SignIn(w io.Writer, d SignInPage) error { return p.write(w, "signin", d) }

// SignedOut writes the page after signing out.
func (p *Pages) SignedOut(w io.Writer, d SignedOutPage) error { return p.write(w, "signedout", d) }

// Error writes the page for a request that could not be answered.
func (p *Pages) Error(w io.Writer, d ErrorPage) error { return p.write(w, "error", errorView(d)) }

// write renders to memory first: a page is written whole or not at all.
func (p *Pages) write(w io.Writer, name string, data any) error {
	var b bytes.Buffer
	if err := p.tpl[name].Execute(&b, data); err != nil {
		return fmt.Errorf("render page %s: %w", name, err)
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write page %s: %w", name, err)
	}
	return nil
}

func iso(t time.Time) string   { return t.UTC().Format(vezechat.TimeLayout) }
func clock(t time.Time) string { return t.UTC().Format("15:04") }

// kindName is how people call a kind of room.
func kindName(k vezechat.RoomKind) string {
	switch k {
	case vezechat.KindGlobal:
		return "Global"
	case vezechat.KindGuild:
		return "Guild"
	case vezechat.KindParty:
		return "Party"
	case vezechat.KindDM:
		return "Direct"
	case vezechat.KindSupport:
		return "Support"
	}
	return string(k)
}
