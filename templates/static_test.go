package templates

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestStatic_NamesFollowContent(t *testing.T) {
	t.Parallel()
	s := newPages(t).Static()
	hashed := regexp.MustCompile(`^[a-z]+\.[0-9a-f]{12}\.(css|js|svg|html)$`)
	size := map[string]int{}
	desk := []string{"desk.css", "desk.js", "inbox.js", "ticket.js", "request.js"}
	for _, name := range staticOrder {
		a := s.Asset(name)
		if !hashed.MatchString(a) || !s.Immutable(a) || s.Immutable(name) {
			t.Errorf("%s is called %s", name, a)
		}
		b, err := fs.ReadFile(s, a)
		if err != nil {
			t.Fatal(err)
		}
		kind := path.Ext(name)
		if slices.Contains(desk, name) {
			kind = "desk" + kind
		}
		if strings.HasPrefix(name, "tile.") {
			kind = "tile"
		}
		size[kind] += len(b)
		if strings.HasSuffix(name, ".js") {
			for plain := range s.names {
				if strings.Contains(string(b), `"./`+plain+`"`) {
					t.Errorf("%s imports %s by its plain name", a, plain)
				}
			}
		}
	}
	// Before compression: about one picture.
	for kind, most := range map[string]int{".js": 47 << 10, ".css": 20 << 10, "desk.js": 18 << 10, "desk.css": 12 << 10, "tile": 12 << 10} {
		if size[kind] > most || size[kind] == 0 {
			t.Errorf("%s: %d bytes, at most %d", kind, size[kind], most)
		}
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
