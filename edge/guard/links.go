package guard

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"vezeuniqverse.com/vezechat"
)

// Labels of the link guard's findings.
const (
	Denied   = "denied"
	Unlisted = "unlisted"
)

// hosts is a LinkPolicy made ready.
type hosts struct {
	known map[string]bool // ASCII form: allowed or denied
	only  bool
	fold  *folder
}

func newHosts(f *folder, p vezechat.LinkPolicy) (hosts, error) {
	h := hosts{known: map[string]bool{}, only: p.Only, fold: f}
	for i, list := range [][]string{p.Denied, p.Allowed} { // allowed wins where a host is both
		for _, s := range list {
			ascii, err := idna.Lookup.ToASCII(strings.ToLower(s))
			if err != nil {
				return h, vezechat.Errorf(vezechat.CodeBadRequest, "links: %q is no host (IDNA, UTS #46)", vezechat.Clip(s, 80))
			}
			h.known[ascii] = i == 1
		}
	}
	return h, nil
}

// judgeLinks adds a finding for each reason that a link of a text is not let through
// for, with where it is.
func (m *Matcher) judgeLinks(s string, v vezechat.GuardVerdict, j *vezechat.Judgement) {
	if v == "" || v == vezechat.VerdictAllow || len(m.hosts.known) == 0 && !m.hosts.only {
		return
	}
	var denied, unlisted []vezechat.TextSpan
	m.hosts.links(s, func(host string, at vezechat.TextSpan) {
		switch ok, listed := m.hosts.look(host); {
		case listed && !ok:
			denied = append(denied, at)
		case !listed && m.hosts.only:
			unlisted = append(unlisted, at)
		}
	})
	if denied != nil {
		add(j, vezechat.Finding{Guard: Links, Label: Denied, Reason: "it links to where links may not lead", Verdict: v, Spans: denied})
	}
	if unlisted != nil {
		add(j, vezechat.Finding{Guard: Links, Label: Unlisted, Reason: "links may lead to listed places only", Verdict: v, Spans: unlisted})
	}
}

// look finds the longest listed host that covers one, in its ASCII form, or as it
// is read if that is another.
func (h *hosts) look(host string) (ok, listed bool) {
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		ascii = host
	}
	if ok, listed = h.suffix(ascii); listed || ascii == host {
		return ok, listed
	}
	var b strings.Builder
	for _, r := range host {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		b.WriteString(reading(r))
	}
	if ok, listed = h.suffix(b.String()); listed && !ok {
		return false, true // it looks like one that is denied
	}
	return false, false
}

func (h *hosts) suffix(host string) (ok, listed bool) {
	for {
		if ok, listed = h.known[host]; listed {
			return ok, true
		}
		_, rest, more := strings.Cut(host, ".")
		if !more {
			return false, false
		}
		host = rest
	}
}

// links calls f, if it is not nil, with the host of each link of a text and where
// the link's host is, and returns how many there are. A link is a host after "//",
// or one whose last label is a top-level domain. Dots in brackets, other scripts'
// full stops, and the word dot between names count as dots.
func (h *hosts) links(s string, f func(host string, at vezechat.TextSpan)) int {
	if !mayLink(s) {
		return 0
	}
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !hostRune(r) {
			i += size
			continue
		}
		host, dots, end := hostAt(s, i)
		scheme := strings.HasSuffix(s[:i], "//")
		if rest := s[end:]; scheme && strings.HasPrefix(rest, "@") && end+1 < len(s) { // a name before the host
			i = end + 1
			host, dots, end = hostAt(s, i)
			if dots == 0 {
				i = max(end, i)
				continue
			}
		}
		if dots > 0 && (scheme || topLevel(host)) {
			n++
			if f != nil {
				f(strings.ToLower(host), vezechat.TextSpan{Start: i, End: end})
			}
		}
		i = max(end, i+size)
	}
	return n
}

// mayLink tells at once that most texts have no link.
func mayLink(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && i+1 < len(s) && s[i+1] > ' ', c == '[' || c == '(' || c == '{':
			return true
		case c|0x20 == 'd' && i+2 < len(s) && s[i+1]|0x20 == 'o' && s[i+2]|0x20 == 't':
			return true
		case c == 0xE3 || c == 0xEF: // 。 ．｡
			return true
		}
	}
	return false
}

func hostRune(r rune) bool {
	return r == '-' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsMark(r))
}

// hostAt reads a host: labels with a dot of some sort between them.
func hostAt(s string, i int) (host string, dots, end int) {
	start := i
	var b []byte // the host, from the first dot in disguise on
	for {
		from := i
		i = labelEnd(s, i)
		if b != nil {
			b = append(b, s[from:i]...)
		}
		n := dotAt(s, i)
		if i == from || n == 0 || i-start > vezechat.MaxHost {
			break
		}
		if next, _ := utf8.DecodeRuneInString(s[i+n:]); !hostRune(next) {
			break
		}
		if n > 1 && b == nil {
			b = append(make([]byte, 0, 64), s[start:i]...)
		}
		if b != nil {
			b = append(b, '.')
		}
		dots++
		i += n
	}
	if b == nil {
		return s[start:i], dots, i
	}
	return string(b), dots, i
}

func labelEnd(s string, i int) int {
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !hostRune(r) {
			break
		}
		i += n
	}
	return i
}

// dotsInDisguise are dots as they are written for people and not for programs.
var dotsInDisguise = []string{"[.]", "(.)", "{.}", "[dot]", "(dot)", "{dot}", " [.] ", " (.) ", " [dot] ", " (dot) ", " dot ", "。", "．", "｡"}

// dotAt returns how long the dot is that stands at a place, 0 for none.
func dotAt(s string, i int) int {
	if i >= len(s) {
		return 0
	}
	if s[i] == '.' {
		return 1
	}
	if c := s[i]; c != ' ' && c != '[' && c != '(' && c != '{' && c < utf8.RuneSelf {
		return 0
	}
	if s[i] == ' ' && (i+1 == len(s) || s[i+1] != '[' && s[i+1] != '(' && s[i+1]|0x20 != 'd') { // a space, as most are
		return 0
	}
	for _, d := range dotsInDisguise {
		if len(s) >= i+len(d) && strings.EqualFold(s[i:i+len(d)], d) {
			return len(d)
		}
	}
	return 0
}

// topLevel reports whether a host ends in a top-level domain of the root zone, in
// lower case: a sentence that begins right after a full stop is no host.
func topLevel(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if len(last) < 2 { // no domain of one letter is there
		return false
	}
	for i := range len(last) {
		switch c := last[i]; {
		case c >= 'A' && c <= 'Z':
			return false
		case c >= utf8.RuneSelf:
			return topLevelWide(last)
		}
	}
	return inRootZone(last)
}

// topLevelWide is topLevel for what is not ASCII.
func topLevelWide(last string) bool {
	if strings.ToLower(last) != last {
		return false
	}
	ascii, err := idna.Lookup.ToASCII(last)
	return err == nil && inRootZone(ascii)
}

func inRootZone(ascii string) bool {
	suffix, icann := publicsuffix.PublicSuffix("x." + ascii)
	return icann && suffix == ascii
}
