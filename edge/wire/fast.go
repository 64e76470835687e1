package wire

import (
	"encoding/json"
	"strings"

	"vezeuniqverse.com/vezechat"
)

// parseFast reads the frames that clients send all day: one flat object of known
// fields, strings without escapes, whole numbers. ok is false for everything
// else, which encoding/json then judges: what parseFast accepts means the same
// there (FuzzParseFast). It takes a third of the time (BenchmarkParseSend).
func parseFast(b []byte, r *Request) (ok bool) {
	s := scanner{b: b}
	if !s.next('{') {
		return false
	}
	for {
		key, ok := s.text()
		if !ok || !s.next(':') || !s.field(key, r) {
			return false
		}
		if s.next(',') {
			continue
		}
		return s.next('}') && s.end()
	}
}

// scanner walks over JSON.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

// next steps over c, if it comes next.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// text steps over a string without escapes and returns what is in it.
func (s *scanner) text() ([]byte, bool) {
	if !s.next('"') {
		return nil, false
	}
	for start := s.i; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start : s.i-1], true
		case c == '\\', c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// number steps over a whole number of at most 18 digits without sign.
func (s *scanner) number() (n int64, ok bool) {
	s.space()
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		n = n*10 + int64(s.b[s.i]-'0')
		s.i++
	}
	digits := s.i - start
	if digits == 0 || digits > 18 || digits > 1 && s.b[start] == '0' {
		return 0, false
	}
	if s.i < len(s.b) && strings.IndexByte(".eE", s.b[s.i]) >= 0 {
		return 0, false
	}
	return n, true
}

// field reads a value into its place.
func (s *scanner) field(key []byte, r *Request) bool {
	switch string(key) {
	case "type":
		return setText(s, &r.Type)
	case "text":
		return setText(s, &r.Text)
	case "nonce":
		return setText(s, &r.Nonce)
	case "epoch":
		return setText(s, &r.Epoch)
	case "emoji":
		return setText(s, &r.Emoji)
	case "token":
		return setText(s, &r.Token)
	case "room_id":
		return setNumber(s, &r.RoomID)
	case "message_id":
		return setNumber(s, &r.MessageID)
	case "reply_to":
		return setNumber(s, &r.ReplyTo)
	case "upto":
		return setNumber(s, &r.Upto)
	case "after":
		r.After = new(vezechat.Seq)
		return setNumber(s, r.After)
	case "ref":
		return s.ref(&r.Ref)
	}
	return false
}

func setText[T ~string](s *scanner, to *T) bool {
	v, ok := s.text()
	*to = T(v)
	return ok
}

func setNumber[T ~int64 | ~uint64](s *scanner, to *T) bool {
	v, ok := s.number()
	*to = T(v)
	return ok
}

// ref reads a ref: a number or a string, kept as it stands.
func (s *scanner) ref(to *json.RawMessage) bool {
	s.space()
	start := s.i
	if _, ok := s.number(); !ok {
		s.i = start
		if _, ok := s.text(); !ok {
			return false
		}
	}
	*to = append(json.RawMessage(nil), s.b[start:s.i]...)
	return true
}
