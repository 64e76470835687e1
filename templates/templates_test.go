package templates

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"vezeuniqverse.com/vezechat"
)

func newPages(t testing.TB) *Pages {
	t.Helper()
	p, err := New(Config{Now: func() time.Time { return sampleNow }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// renderAll renders each page with every text field set to s.
func renderAll(t testing.TB, p *Pages, s string) map[string]string {
	t.Helper()
	rooms, room, signin, oops := sampleFill(s)
	pages := newSampleDesk(s).render(p)
	pages["rooms"] = func(w io.Writer) error { return p.Rooms(w, rooms) }
	pages["room"] = func(w io.Writer) error { return p.Room(w, room) }
	pages["signin"] = func(w io.Writer) error { return p.SignIn(w, signin) }
	pages["signedout"] = func(w io.Writer) error { return p.SignedOut(w, SignedOutPage{Page: signin.Page}) }
	pages["error"] = func(w io.Writer) error { return p.Error(w, oops) }
	return renderEach(t, pages)
}

func renderEach(t testing.TB, fns map[string]func(io.Writer) error) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, fn := range fns {
		var b bytes.Buffer
		if err := fn(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = b.String()
	}
	return out
}

// shape is what a page is made of, apart from texts and values.
func shape(page string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			b.WriteString(tok.Data)
			for _, a := range tok.Attr {
				b.WriteString(" " + a.Key)
			}
			b.WriteByte('\n')
		case html.EndTagToken:
			b.WriteString("/" + z.Token().Data + "\n")
		}
	}
}

// withoutText takes the texts of messages out: what the subset makes of them is
// the business of the markdown tests, here it may differ.
func withoutText(page string) string {
	for {
		i := strings.Index(page, `<div class="text" dir="auto">`)
		if i < 0 {
			return page
		}
		j := strings.Index(page[i:], "</div>")
		page = page[:i] + page[i+j:]
	}
}

func TestPages_HostileTextStaysText(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	plain := renderAll(t, p, "plain")
	for _, s := range hostile {
		for name, page := range renderAll(t, p, s) {
			if got, want := shape(withoutText(page)), shape(withoutText(plain[name])); got != want {
				t.Errorf("page %s changes its shape with %q:\n%s", name, s, diff(want, got))
			}
			assertPolicy(t, name, page)
			assertBase(t, name, page)
		}
	}
}

// Every page is among those that hostile texts are tried on, but the one that shows
// nothing of anybody's.
func TestPages_AllAreRendered(t *testing.T) {
	t.Parallel()
	rendered := renderAll(t, newPages(t), "plain")
	rendered["docs"] = ""
	pages := reflect.TypeFor[*Pages]()
	for m := range pages.Methods() {
		if m.Type.NumIn() != 3 || m.Type.In(1) != reflect.TypeFor[io.Writer]() {
			continue
		}
		if _, ok := rendered[strings.ToLower(m.Name)]; !ok {
			t.Errorf("the page %s is not among those that are rendered here", m.Name)
		}
	}
}

func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			return "want " + w[i] + ", got " + strings.Join(g[min(i, len(g)):min(i+3, len(g))], " | ")
		}
	}
	return "longer"
}

// assertPolicy fails when a page has what CSP forbids or a dangerous address.
func assertPolicy(t *testing.T, name, page string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			return
		}
		if tt != html.StartTagToken && tt != html.SelfClosingTagToken {
			continue
		}
		tok := z.Token()
		attr := map[string]string{}
		for _, a := range tok.Attr {
			attr[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc" {
				t.Errorf("%s: <%s %s=%q>", name, tok.Data, a.Key, a.Val)
			}
			if (a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "formaction") && strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:") {
				t.Errorf("%s: <%s %s=%q>", name, tok.Data, a.Key, a.Val)
			}
		}
		switch tok.Data {
		case "style", "iframe", "object", "embed", "base":
			t.Errorf("%s: element <%s>", name, tok.Data)
		case "script":
			if attr["src"] == "" && attr["type"] != "application/json" {
				t.Errorf("%s: inline script", name)
			}
		}
	}
}

// assertBase fails when an address of the page does not begin with its Base.
func assertBase(t *testing.T, name, page string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			return
		}
		if tt != html.StartTagToken && tt != html.SelfClosingTagToken {
			continue
		}
		tok := z.Token()
		for _, a := range tok.Attr {
			if a.Key != "href" && a.Key != "src" && a.Key != "action" && a.Key != "formaction" || strings.HasPrefix(a.Val, "#") || strings.HasPrefix(a.Val, "http") {
				continue
			}
			if !strings.HasPrefix(a.Val, "/proxy/chat/") {
				t.Errorf("%s: <%s %s=%q> is outside the base", name, tok.Data, a.Key, a.Val)
			}
		}
	}
}

func TestPages_EveryFormHasTheToken(t *testing.T) {
	t.Parallel()
	for name, page := range renderAll(t, newPages(t), "tok-1") {
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		forms := 0
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode || n.Data != "form" || attrOf(n, "method") != "post" {
				continue
			}
			forms++
			found := name == "unsubscribe" // its link is signed: mail programs send it, RFC 8058
			for c := range n.Descendants() {
				found = found || c.Data == "input" && attrOf(c, "name") == "_csrf" && attrOf(c, "value") == "tok-1"
			}
			if !found {
				t.Errorf("%s: the form to %s has no token", name, attrOf(n, "action"))
			}
		}
		if forms == 0 {
			t.Errorf("%s: no form at all, not even sign out", name)
		}
	}
}

func attrOf(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// TestPages_LabelsAndLandmarks: what a screen reader needs to find its way.
func TestPages_LabelsAndLandmarks(t *testing.T) {
	t.Parallel()
	for name, page := range renderAll(t, newPages(t), "x") {
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]int{}
		count := map[string]int{}
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			count[n.Data]++
			if id := attrOf(n, "id"); id != "" {
				ids[id]++
			}
			if control(n) && !labelled(doc, n) {
				t.Errorf("%s: <%s name=%q> has no label", name, n.Data, attrOf(n, "name"))
			}
		}
		for id, n := range ids {
			if n > 1 {
				t.Errorf("%s: id %q is there %d times", name, id, n)
			}
		}
		if count["main"] != 1 || count["h1"] != 1 || ids["main"] != 1 {
			t.Errorf("%s: main %d, h1 %d, #main %d, want one each", name, count["main"], count["h1"], ids["main"])
		}
	}
}

func control(n *html.Node) bool {
	return n.Data == "textarea" || n.Data == "select" || n.Data == "input" && attrOf(n, "type") != "hidden"
}

func labelled(doc, n *html.Node) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == "label" {
			return true
		}
	}
	for l := range doc.Descendants() {
		if l.Data == "label" && attrOf(l, "for") != "" && attrOf(l, "for") == attrOf(n, "id") {
			return true
		}
	}
	return false
}

func TestRoom_GroupsDaysAndDivider(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	v, err := p.roomView(sampleRoom())
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		first, fresh bool
		day          string
	}{
		{true, false, "Yesterday"}, {false, false, ""}, {true, false, ""}, {true, false, ""},
		{true, false, "Today"}, {false, false, ""}, {true, false, ""}, {true, false, ""},
		{true, false, ""}, {false, false, ""}, {true, true, ""}, {true, false, ""}, {true, false, ""},
	}
	for i, m := range v.Views {
		if m.First != want[i].first || m.New != want[i].fresh || m.Day != want[i].day {
			t.Errorf("message %d: first %v new %v day %q, want %+v", m.ID, m.First, m.New, m.Day, want[i])
		}
	}
}

func TestRoom_GoneMessagesHaveNoText(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	d := sampleRoom()
	for i := range d.Messages {
		d.Messages[i].Deleted, d.Messages[i].Text = true, "secret words"
		d.Messages[i].Reactions = []vezechat.Reaction{{Emoji: "S3CRET", Count: 1}}
	}
	page := renderEach(t, map[string]func(io.Writer) error{"room": func(w io.Writer) error { return p.Room(w, d) }})["room"]
	if strings.Contains(page, "secret words") || strings.Contains(page, "S3CRET") {
		t.Error("a deleted message shows what it was")
	}
}

// TestPages_PayloadList runs over a public list of attacks where it is found.
func TestPages_PayloadList(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("VEZE_DATA_DIR")
	if dir == "" {
		dir = "../../shared/data"
	}
	b, err := os.ReadFile(filepath.Join(dir, "torture/xss/xss-payload-list.txt"))
	if err != nil {
		t.Skipf("the list of attacks is not here, only our own were tried: %v", err)
	}
	p := newPages(t)
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		out, err := p.md.render(line)
		if err != nil {
			t.Fatal(err)
		}
		assertSubset(t, line, string(out))
	}
	// A page for each would take minutes: many payloads share one page.
	plain := renderAll(t, p, "plain")
	all := strings.Split(string(b), "\n")
	for i := 0; i < len(all); i += 40 {
		s := strings.Join(all[i:min(i+40, len(all))], " ")
		for name, page := range renderAll(t, p, s) {
			if shape(withoutText(page)) != shape(withoutText(plain[name])) {
				t.Errorf("page %s changes its shape with payloads %d to %d", name, i, i+40)
			}
			assertPolicy(t, name, page)
		}
	}
}
