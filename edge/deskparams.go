package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// What the desk is told, besides what every command may be.

// JSON reads a field of any form; in a form it is its JSON text. Nothing is read
// when there is none. An object in it that has a field which into does not know is
// refused by that field's name.
func (p *params) JSON(name, want string, into any) {
	js, s, ok := p.raw(name)
	if !ok || js == nil && s == "" {
		return
	}
	if js == nil {
		js = json.RawMessage(s)
	}
	err := strictly(js, into)
	var ve *vezechat.Error
	switch {
	case err == nil || p.err != nil:
	case unknownField(err) != "":
		p.err = vezechat.WrapError(vezechat.CodeBadRequest, err, "%s: %s is no field of it", name, unknownField(err))
	case errors.As(err, &ve): // what a time or a date wants
		p.err = vezechat.WrapError(vezechat.CodeBadRequest, err, "%s: %s", name, ve.Message)
	default:
		p.wrong(name, want)
	}
}

// strictly is json.Unmarshal that knows all that it reads.
func strictly(js []byte, into any) error {
	if !json.Valid(js) {
		return json.Unmarshal(js, into) // says where
	}
	dec := json.NewDecoder(bytes.NewReader(js))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// unknownField is the name, in quotes, of the field that strictly did not know; empty
// when err says something else. The standard library has no type for it.
func unknownField(err error) string {
	name, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !ok {
		return ""
	}
	return vezechat.Clip(name, 64)
}

// Actions returns what macros and bulk changes do. To whom, and to which queue, has to
// be said: 0 is nobody and none, and what was misspelt must not be that.
func (p *params) Actions(name string) []vezechat.TicketAction {
	var said []struct {
		vezechat.TicketAction
		User  *vezechat.UserID  `json:"user_id"`
		Queue *vezechat.QueueID `json:"queue_id"`
	}
	if vs := p.text[name]; len(vs) > 1 { // a button's are behind those of the list to choose from, and count
		p.text[name] = vs[len(vs)-1:]
	}
	p.JSON(name, `a JSON list of {"do",…}`, &said)
	out := make([]vezechat.TicketAction, len(said))
	for i, a := range said {
		switch {
		case a.Do == vezechat.DoAssign && a.User == nil:
			p.wrong(name, "user_id with assign; 0 is nobody")
		case a.Do == vezechat.DoQueue && a.Queue == nil:
			p.wrong(name, "queue_id with queue; 0 is none")
		}
		if out[i] = a.TicketAction; a.User != nil {
			out[i].User = *a.User
		}
		if a.Queue != nil {
			out[i].Queue = *a.Queue
		}
	}
	return out
}

// Needs returns the skills that a ticket requires, or an agent has.
func (p *params) Needs(name string) []vezechat.SkillLevel {
	list := []vezechat.SkillLevel{}
	p.JSON(name, `a JSON list of {"skill_id","level"}`, &list)
	return list
}

// formTime is a time as forms say it, in UTC.
const formTime = "2006-01-02T15:04"

// Time returns an instant (RFC 3339), zero when there is none.
func (p *params) Time(name string) time.Time {
	s := p.String(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if _, isJSON := p.json[name]; err != nil && !isJSON { // as forms say it, in UTC
		t, err = time.Parse(formTime, s)
	}
	if err != nil {
		p.wrong(name, "a time as 2026-11-23T12:00:00Z")
	}
	return t
}

// Queue returns a queue's id, or what it is called; neither when none is named.
func (p *params) Queue(name string) (vezechat.QueueID, string) {
	js, s, ok := p.raw(name)
	if ok && js == nil && digits(s) || js != nil && js[0] != '"' {
		return vezechat.QueueID(p.ID(name)), ""
	}
	return 0, strings.TrimSpace(p.String(name))
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// TicketIDs returns a list of ticket ids: a JSON list, a field repeated, or one with
// commas.
func (p *params) TicketIDs(name string, most int) []vezechat.TicketID {
	var list []vezechat.TicketID
	if js, _, ok := p.raw(name); ok && js != nil {
		p.JSON(name, "a list of ticket ids", &list)
	} else {
		for _, s := range p.Strings(name) {
			id, err := vezechat.ParseTicketID(s)
			if err != nil {
				p.wrong(name, "a list of ticket ids")
				return nil
			}
			list = append(list, id)
		}
	}
	if len(list) > most {
		p.wrong(name, "at most "+strconv.Itoa(most)+" ticket ids")
	}
	return list
}

// words are the texts of a list, as one of the closed sets of the domain.
func words[T ~string](p *params, name string) []T {
	var out []T
	for _, s := range p.Strings(name) {
		out = append(out, T(s))
	}
	return out
}

// sameName reports whether two names of settings are one: case and space do not
// matter.
func sameName(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}
