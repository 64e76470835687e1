package templates

import (
	"io"

	"vezeuniqverse.com/vezechat"
)

// KeysPage is where administrators make keys for games and bots, and revoke them.
type KeysPage struct {
	Page
	Keys   []vezechat.APIKey
	Scopes vezechat.Scopes  // those that may be given
	Made   *vezechat.APIKey // the one that was just made
	Secret string           // of Made, shown once; empty: it was shown before
	Nonce  string           // of the form: sending it twice makes one key
	Name   string           // what was typed into the form that failed
	Handle string
}

// Keys writes the page of keys.
func (p *Pages) Keys(w io.Writer, d KeysPage) error { return p.write(w, "keys", d) }
