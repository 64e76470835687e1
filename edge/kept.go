package edge

import (
	"bytes"
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// guardKept asks the guards about texts that are kept as they are, as those in a room's
// meta: what would be redacted in a message is refused there. CodeBlockedContent
// names what it is in.
func (e *Edge) guardKept(c *fiber.Ctx, by vezechat.Caller, kind vezechat.RoomKind, what string, texts ...string) error {
	for _, s := range texts {
		kept, err := e.cfg.Poster.Text(c.UserContext(), by, kind, s)
		if err != nil {
			return err
		}
		if kept != s {
			return vezechat.Errorf(vezechat.CodeBlockedContent, "%s: it has a word that is not let through", what)
		}
	}
	return nil
}

// textsOf are the strings of a JSON value, names of fields among them. Of what is no JSON
// they are those before it is none.
func textsOf(raw json.RawMessage) (out []string) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	for {
		t, err := dec.Token()
		if err != nil {
			return out
		}
		if s, ok := t.(string); ok {
			out = append(out, s)
		}
	}
}
