package templates

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"regexp"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	gmhtml "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// markdown renders the subset of CommonMark that messages may use: emphasis,
// strong, code spans, fenced code, [label](http…) links, bare http(s) addresses,
// line breaks, backslash escapes. Everything else is text.
//
// static/markdown.js is the same grammar in the browser; testdata/markdown.json
// and a fuzzed comparison in Chromium hold the two together. That is why lines
// are parsed one by one and links are plain regular expressions: the less there
// is to agree on, the surer the agreement.
type markdown struct {
	md     goldmark.Markdown
	policy *bluemonday.Policy
}

func newMarkdown() *markdown {
	p := parser.NewParser(
		parser.WithBlockParsers(util.Prioritized(parser.NewParagraphParser(), 1)),
		parser.WithInlineParsers(
			util.Prioritized(parser.NewCodeSpanParser(), 1),
			util.Prioritized(labelParser{}, 2),
			util.Prioritized(bareParser{}, 3),
			util.Prioritized(parser.NewEmphasisParser(), 4),
		))
	r := renderer.NewRenderer(renderer.WithNodeRenderers(
		util.Prioritized(gmhtml.NewRenderer(gmhtml.WithWriter(plainWriter{})), 1)))
	policy := bluemonday.NewPolicy()
	policy.AllowElements("p", "br", "em", "strong", "code", "pre")
	policy.AllowAttrs("href").OnElements("a")
	policy.AllowURLSchemes("http", "https")
	policy.RequireNoFollowOnLinks(true)
	policy.AddTargetBlankToFullyQualifiedLinks(true)
	return &markdown{md: goldmark.New(goldmark.WithParser(p), goldmark.WithRenderer(r)), policy: policy}
}

// tags are those that render writes: texts have none, they are escaped.
var tags = regexp.MustCompile(`<[^>]*>`)

// plain returns the text of a message in one line and without its marks.
func (m *markdown) plain(s string) (string, error) {
	h, err := m.render(s)
	if err != nil {
		return "", err
	}
	h = template.HTML(strings.NewReplacer("<br>", " ", "</p>", " ", "</pre>", " ").Replace(string(h))) //nolint:gosec // it becomes text below
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(string(h), ""))), " "), nil
}

// render returns the text of a message as HTML that is safe to show.
func (m *markdown) render(s string) (template.HTML, error) {
	var out strings.Builder
	var para []string
	flush := func() {
		if len(para) > 0 {
			out.WriteString("<p>" + strings.Join(para, "<br>") + "</p>")
			para = nil
		}
	}
	lines := strings.Split(s, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.Trim(lines[i], " \t")
		switch {
		case line == "":
			flush()
		case isFence(line):
			flush()
			i = fence(&out, lines, i+1)
		default:
			h, err := m.line(line)
			if err != nil {
				return "", err
			}
			para = append(para, h)
		}
	}
	flush()
	return template.HTML(m.policy.Sanitize(out.String())), nil //nolint:gosec // just sanitised
}

// line renders one line: goldmark makes a paragraph of it, which goes again.
func (m *markdown) line(s string) (string, error) {
	var b bytes.Buffer
	if err := m.md.Convert([]byte(s), &b); err != nil {
		return "", fmt.Errorf("render markdown: %w", err)
	}
	h := strings.TrimSuffix(strings.TrimPrefix(b.String(), "<p>"), "</p>\n")
	return h, nil
}

func isFence(line string) bool {
	rest, ok := strings.CutPrefix(line, "```")
	return ok && !strings.Contains(rest, "`")
}

// fence writes the lines up to the closing fence, or to the end, and returns
// where it stopped.
func fence(out *strings.Builder, lines []string, i int) int {
	from := i
	for i < len(lines) && strings.Trim(lines[i], " \t") != "```" {
		i++
	}
	out.WriteString("<pre><code>" + html.EscapeString(strings.Join(lines[from:i], "\n")) + "</code></pre>")
	return i
}

// plainWriter escapes for HTML and undoes backslash escapes; unlike goldmark's
// own it does not resolve entities: in a chat, &amp; means &amp;.
type plainWriter struct{}

func (plainWriter) Write(w util.BufWriter, src []byte) {
	for i := 0; i < len(src); i++ {
		if src[i] == '\\' && i+1 < len(src) && util.IsPunct(src[i+1]) {
			i++
		}
		writeEscaped(w, src[i])
	}
}

func (plainWriter) RawWrite(w util.BufWriter, src []byte) {
	for _, c := range src {
		writeEscaped(w, c)
	}
}

func (p plainWriter) SecureWrite(w util.BufWriter, src []byte) { p.RawWrite(w, src) }

func writeEscaped(w util.BufWriter, c byte) {
	if e := util.EscapeHTMLByte(c); e != nil {
		_, _ = w.Write(e) // a BufWriter keeps its first error for Flush
		return
	}
	_ = w.WriteByte(c)
}

// The grammar of addresses, letter for letter that of static/markdown.js.
const (
	urlChar    = `(?:[\p{L}\p{N}\p{M}\-._~:/?@!$&'*+,;=()]|%[0-9A-Fa-f]{2})`
	urlPattern = `https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?:[/?]` + urlChar + `*)?(?:#` + urlChar + `*)?`
)

var (
	labelRE = regexp.MustCompile(`^\[([^\[\]` + "`" + `]{1,200})\]\((` + urlPattern + `)\)`)
	bareRE  = regexp.MustCompile(`^` + urlPattern)

	escapedRE = regexp.MustCompile(`\\([!-/:-@\[-` + "`" + `{-~])`)
	addressRE = regexp.MustCompile(`://|^[^\p{L}\p{N}]*[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}(?:[^\p{L}\p{N}]|$)`)
)

// labelParser reads [label](http…); the label is plain text. One that reads like an
// address is none: it would say that the link leads there.
type labelParser struct{}

func (labelParser) Trigger() []byte { return []byte{'['} }

func (labelParser) Parse(_ ast.Node, block text.Reader, _ parser.Context) ast.Node {
	line, seg := block.PeekLine()
	m := labelRE.FindSubmatchIndex(line)
	if m == nil || addressRE.Match(escapedRE.ReplaceAll(line[m[2]:m[3]], []byte("$1"))) {
		return nil
	}
	url := line[m[4]:m[5]]
	end := m[1]
	// The pattern is greedy: [a](http://x) (b) must not end at the last bracket.
	if n := balanced(url); n < len(url) {
		url, end = url[:n], m[4]+n+1
	}
	block.Advance(end)
	link := ast.NewLink()
	link.Destination = escapeURL(url)
	link.AppendChild(link, ast.NewTextSegment(text.NewSegment(seg.Start+m[2], seg.Start+m[3])))
	return link
}

// balanced returns where the first closing bracket without its opening one is.
func balanced(url []byte) int {
	depth := 0
	for i, c := range url {
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return i
			}
		}
	}
	return len(url)
}

// bareParser reads addresses that stand in the text. Its trigger is the colon:
// the scheme before it is text already and is taken back.
type bareParser struct{}

func (bareParser) Trigger() []byte { return []byte{':'} }

func (bareParser) Parse(parent ast.Node, block text.Reader, _ parser.Context) ast.Node {
	last, ok := parent.LastChild().(*ast.Text)
	if !ok {
		return nil
	}
	src := block.Source()
	_, seg := block.PeekLine()
	at := seg.Start - schemeBefore(last.Segment.Value(src))
	if at == seg.Start || at > 0 && alnum(src[at-1]) {
		return nil
	}
	url := trimURL(bareRE.Find(src[at:seg.Stop]))
	if len(url) <= seg.Start-at {
		return nil
	}
	last.Segment = last.Segment.WithStop(at)
	block.Advance(at + len(url) - seg.Start)
	link := ast.NewLink()
	link.Destination = escapeURL(url)
	shown := ast.NewString(url)
	shown.SetRaw(true) // escaped, but without backslash escapes
	link.AppendChild(link, shown)
	return link
}

func schemeBefore(b []byte) int {
	switch {
	case bytes.HasSuffix(b, []byte("https")):
		return 5
	case bytes.HasSuffix(b, []byte("http")):
		return 4
	}
	return 0
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
}

// trimURL gives the sentence its punctuation back.
func trimURL(u []byte) []byte {
	for len(u) > 0 {
		c := u[len(u)-1]
		if !strings.ContainsRune(".,:;!?'*_~#", rune(c)) &&
			(c != ')' || bytes.Count(u, []byte(")")) <= bytes.Count(u, []byte("("))) {
			break
		}
		u = u[:len(u)-1]
	}
	return u
}

func escapeURL(u []byte) []byte {
	u = bytes.TrimSuffix(u, []byte("#")) // net/url, and so bluemonday, drops it
	var out []byte
	for _, c := range u {
		switch {
		case c >= 0x80:
			out = fmt.Appendf(out, "%%%02X", c)
		case c == '&': // goldmark resolves entities in addresses
			out = append(out, "&amp;"...)
		default:
			out = append(out, c)
		}
	}
	return out
}
