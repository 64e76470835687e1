package edge

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// params are what a request says, whether as query parameters, as a form or as a
// JSON object; a body's field wins over a query parameter of the same name.
// Getters note the first field that has the wrong type: ask Err when all are
// read. Fields that nobody asks for are ignored, unless Done is asked.
type params struct {
	text  map[string][]string        // query and form
	json  map[string]json.RawMessage // body
	asked map[string]bool            // fields that a getter looked for
	err   error
}

// maxFields bounds the parameters of one request.
const maxFields = 2000

// readParams reads the query and the body.
// CodeBadRequest: the body is not what its Content-Type says, or of a type that
// no command takes.
func readParams(c *fiber.Ctx) (*params, error) {
	p := &params{text: map[string][]string{}, asked: map[string]bool{}}
	n := 0
	add := func(k, v []byte) {
		if n++; n <= maxFields {
			p.text[string(k)] = append(p.text[string(k)], string(v))
		}
	}
	for k, v := range c.Request().URI().QueryArgs().All() {
		add(k, v)
	}
	if err := p.readBody(c, add); err != nil {
		return nil, err
	}
	if n > maxFields {
		return nil, vezechat.Errorf(vezechat.CodeTooLarge, "a request has at most %d fields", maxFields)
	}
	return p, nil
}

// readBody reads the raw body: Fiber's Body would unpack a Content-Encoding to
// any size.
func (p *params) readBody(c *fiber.Ctx, add func(k, v []byte)) error {
	body := c.Request().Body()
	if len(body) == 0 {
		return nil
	}
	if enc := c.Get(fiber.HeaderContentEncoding); enc != "" && enc != "identity" {
		return vezechat.Errorf(vezechat.CodeBadRequest, "a body with Content-Encoding is not taken")
	}
	typ, _, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType, fiber.MIMEApplicationJSON))
	if err != nil {
		return vezechat.WrapError(vezechat.CodeBadRequest, err, "the Content-Type is malformed")
	}
	switch {
	case typ == fiber.MIMEApplicationForm:
		p.replace(c.Request().PostArgs().All(), add)
		return nil
	case typ == fiber.MIMEMultipartForm:
		return p.readMultipart(c, add)
	case typ == fiber.MIMEApplicationJSON || strings.HasSuffix(typ, "+json"):
		p.json, err = readObject(body)
		return err
	}
	return vezechat.Errorf(vezechat.CodeBadRequest, "send JSON or a form, not %q", vezechat.Clip(typ, 64))
}

func (p *params) readMultipart(c *fiber.Ctx, add func(k, v []byte)) error {
	form, err := c.MultipartForm()
	if err != nil {
		return vezechat.WrapError(vezechat.CodeBadRequest, err, "the form is malformed")
	}
	p.replace(func(yield func(k, v []byte) bool) {
		for k, vs := range form.Value {
			for _, v := range vs {
				if !yield([]byte(k), []byte(v)) {
					return
				}
			}
		}
	}, add)
	return nil
}

// replace adds fields, and forgets query parameters of the same names.
func (p *params) replace(fields iter.Seq2[[]byte, []byte], add func(k, v []byte)) {
	seen := map[string]bool{}
	for k, v := range fields {
		if !seen[string(k)] {
			seen[string(k)] = true
			delete(p.text, string(k))
		}
		add(k, v)
	}
}

// readObject reads one JSON object and nothing after it (RFC 8259).
func readObject(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "the body is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	var m map[string]json.RawMessage
	if err := dec.Decode(&m); err != nil || m == nil {
		return nil, vezechat.WrapError(vezechat.CodeBadRequest, err, "the body is not a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, vezechat.WrapError(vezechat.CodeBadRequest, err, "the body has something after the JSON object")
	}
	if len(m) > maxFields {
		return nil, vezechat.Errorf(vezechat.CodeTooLarge, "a request has at most %d fields", maxFields)
	}
	return m, nil
}

// Err is the first complaint of the getters.
func (p *params) Err() error { return p.err }

// Done is Err, and refuses a JSON body with a field that no getter has looked for: a
// name that is misspelt would change nothing, or something else. Ask it when all are
// read, and before anything is done. A form or a query may say more: browsers and
// links do.
func (p *params) Done() error {
	if p.err != nil {
		return p.err
	}
	for _, name := range slices.Sorted(maps.Keys(p.json)) {
		if !p.asked[name] {
			return vezechat.Errorf(vezechat.CodeBadRequest, "%q is no field of this", vezechat.Clip(name, 64))
		}
	}
	return nil
}

func (p *params) wrong(name, want string) {
	if p.err == nil {
		p.err = vezechat.Errorf(vezechat.CodeBadRequest, "%s: want %s", name, want)
	}
}

// raw returns a field's JSON, or its text: whichever there is. A JSON null is no
// field.
func (p *params) raw(name string) (js json.RawMessage, text string, ok bool) {
	p.asked[name] = true
	if js, ok := p.json[name]; ok {
		if string(js) == "null" {
			return nil, "", false
		}
		return js, "", true
	}
	if vs := p.text[name]; len(vs) > 0 {
		return nil, vs[0], true
	}
	return nil, "", false
}

// Has reports whether a field is there.
func (p *params) Has(name string) bool {
	_, _, ok := p.raw(name)
	return ok
}

// String returns a text; NUL and invalid UTF-8 are wrong anywhere.
func (p *params) String(name string) string {
	js, s, _ := p.raw(name)
	if js != nil && json.Unmarshal(js, &s) != nil {
		p.wrong(name, "a string")
		return ""
	}
	if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		p.wrong(name, "text in valid UTF-8 without NUL")
		return ""
	}
	return s
}

// Int returns a whole number from lo to hi; def when there is none.
func (p *params) Int(name string, def, lo, hi int64) int64 {
	js, s, ok := p.raw(name)
	if !ok || js == nil && s == "" {
		return def
	}
	if js != nil {
		s = string(js)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < lo || n > hi || s != strconv.FormatInt(n, 10) {
		p.wrong(name, "a whole number from "+strconv.FormatInt(lo, 10)+" to "+strconv.FormatInt(hi, 10))
		return def
	}
	return n
}

const maxInt = 1<<63 - 1

// Seq returns a place in the log, 0 when there is none.
func (p *params) Seq(name string) vezechat.Seq {
	return vezechat.Seq(p.Int(name, 0, 0, maxInt))
}

// ID returns an identifier, 0 when there is none.
func (p *params) ID(name string) int64 { return p.Int(name, 0, 1, maxInt) }

// Bool returns a truth: true and false, in forms also 1, on, 0, off.
func (p *params) Bool(name string) bool {
	js, s, ok := p.raw(name)
	if js != nil {
		s = string(js)
	}
	switch {
	case !ok || s == "false" || js == nil && (s == "0" || s == "off" || s == ""):
		return false
	case s == "true" || js == nil && (s == "1" || s == "on"):
		return true
	}
	p.wrong(name, "true or false")
	return false
}

// Object returns a JSON object as it came; in a form it is the object's text.
func (p *params) Object(name string) json.RawMessage {
	js, s, ok := p.raw(name)
	if !ok || js == nil && s == "" {
		return nil
	}
	if js == nil {
		js = json.RawMessage(s)
	}
	var m map[string]json.RawMessage
	if !utf8.Valid(js) || json.Unmarshal(js, &m) != nil || m == nil {
		p.wrong(name, "a JSON object")
		return nil
	}
	return bytes.Clone(js)
}

// Strings returns a list of texts: a JSON list, a field repeated, or one with
// commas.
func (p *params) Strings(name string) []string {
	p.asked[name] = true
	if js, ok := p.json[name]; ok && string(js) != "null" {
		var list []string
		if json.Unmarshal(js, &list) != nil {
			p.wrong(name, "a list of strings")
		}
		return list
	}
	var out []string
	for _, v := range p.text[name] {
		for f := range strings.SplitSeq(v, ",") {
			if f = strings.TrimSpace(f); f != "" {
				out = append(out, f)
			}
		}
	}
	return out
}

// UserIDs returns a list of user ids, in the forms of Strings.
func (p *params) UserIDs(name string, most int) []vezechat.UserID {
	p.asked[name] = true
	var texts []string
	if js, ok := p.json[name]; ok && string(js) != "null" {
		var list []json.RawMessage
		if json.Unmarshal(js, &list) != nil {
			p.wrong(name, "a list of user ids")
			return nil
		}
		for _, id := range list {
			texts = append(texts, string(id))
		}
	} else {
		texts = p.Strings(name)
	}
	if len(texts) > most {
		p.wrong(name, "at most "+strconv.Itoa(most)+" user ids")
		return nil
	}
	var out []vezechat.UserID
	for _, s := range texts {
		id, err := vezechat.ParseUserID(s)
		if err != nil {
			p.wrong(name, "a list of user ids")
			return nil
		}
		out = append(out, id)
	}
	return out
}

// User returns a user named by id or by handle; zero when none is named.
func (p *params) User(name string) vezechat.UserQuery {
	js, _, ok := p.raw(name)
	if !ok {
		return vezechat.UserQuery{}
	}
	if js != nil && js[0] != '"' {
		return vezechat.UserQuery{ID: vezechat.UserID(p.ID(name))}
	}
	s := p.String(name)
	if id, err := vezechat.ParseUserID(s); err == nil {
		return vezechat.UserQuery{ID: id}
	}
	if s == "" {
		return vezechat.UserQuery{}
	}
	return vezechat.UserQuery{Handle: handle(s)}
}

// handle puts the sign of handles before s.
func handle(s string) string {
	if strings.HasPrefix(s, "@") {
		return s
	}
	return "@" + s
}
