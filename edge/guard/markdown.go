package guard

import (
	"bytes"
	"strings"
)

// markup stands for a byte of Markdown that a page does not show. No text that is kept
// has it: it is a control character.
const markup = 0x01

// rendered is a text with markup in place of what pages leave out of it: the asterisks of
// emphasis, and of links all but their labels. Places in it are those in the text. ok is
// false when there is nothing to leave out.
func rendered(s string) (shown string, ok bool) {
	links, stars := strings.Contains(s, "]("), runs(s) >= 2
	if !links && !stars {
		return s, false
	}
	b := []byte(s)
	if stars {
		blank(b, '*')
	}
	if links {
		blank(b, '[')
		targets(b)
	}
	return string(b), true
}

// runs counts how often asterisks stand together.
func runs(s string) (n int) {
	for i := range len(s) {
		if s[i] == '*' && (i == 0 || s[i-1] != '*') {
			n++
		}
	}
	return n
}

func blank(b []byte, c byte) {
	for i := range b {
		if b[i] == c {
			b[i] = markup
		}
	}
}

// targets blanks what stands behind the labels of links.
func targets(b []byte) {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte("]("))
		if i < 0 {
			return
		}
		from += i
		end := bytes.IndexByte(b[from:], ')')
		if end < 0 {
			return
		}
		for k := from; k <= from+end; k++ {
			b[k] = markup
		}
		from += end + 1
	}
}
