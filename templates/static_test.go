package templates

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestStatic_NamesFollowContent(t *testing.T) {
	t.Parallel()
	s := newPages(t).Static()
	hashed := regexp.MustCompile(`^[a-z]+\.[0-9a-f]{12}\.(css|js|svg)$`)
	js, css := 0, 0
	for _, name := range staticOrder {
		a := s.Asset(name)
		if !hashed.MatchString(a) || !s.Immutable(a) || s.Immutable(name) {
			t.Errorf("%s is called %s", name, a)
		}
		b, err := fs.ReadFile(s, a)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(name, ".js"):
			js += len(b)
			for plain := range s.names {
				if strings.Contains(string(b), `"./`+plain+`"`) {
					t.Errorf("%s imports %s by its plain name", a, plain)
				}
			}
		case strings.HasSuffix(name, ".css"):
			css += len(b)
		}
	}
	// 44, not 40: the room page also manages its members and says what is refused.
	if js > 44<<10 || css > 20<<10 {
		t.Errorf("scripts have %d bytes and styles %d; at most 44 KiB and 20 KiB", js, css)
	}
	entries, err := fs.ReadDir(staticFiles, "static")
	if err != nil || len(entries) != len(staticOrder) {
		t.Errorf("%d files, %d in the order: %v", len(entries), len(staticOrder), err)
	}
	if _, err := s.Open("../templates.go"); err == nil {
		t.Error("a file outside was opened")
	}
	if s.Immutable("nothing.js") || s.Asset("nothing.js") != "nothing.js" {
		t.Error("an unknown file is known")
	}
}
