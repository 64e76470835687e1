package vezechat_test

import (
	"bufio"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// deskNumber is an issue or a pull request of another desk, as docs/desk-bugs.md and
// the titles of scenarios have it: the desk's name may stand before the one ahead.
var deskNumber = regexp.MustCompile(`(#|PR |discussion )\d+`)

// titlesOf returns the titles of the cases of the desk's scripts, by file.
func titlesOf(t *testing.T) map[string][]string {
	t.Helper()
	titles := map[string][]string{}
	for _, dir := range []string{"routing", "routing/match", "routing/sla"} {
		files, err := filepath.Glob(dir + "/testdata/*.txt")
		if err != nil || len(files) == 0 {
			t.Fatal("no scripts in", dir, err)
		}
		for _, f := range files {
			name := filepath.ToSlash(f)
			for sc := bufio.NewScanner(strings.NewReader(read(t, f))); sc.Scan(); {
				if title, ok := strings.CutPrefix(sc.Text(), "== "); ok {
					titles[name] = append(titles[name], title)
				}
			}
		}
	}
	return titles
}

// Each number of other desks' faults on the page has a scenario that exists and names
// it; each number in a scenario's title is on the page.
func TestDocs_DeskBugsHaveScenarios(t *testing.T) {
	t.Parallel()
	titles := titlesOf(t)
	page, _, _ := strings.Cut(read(t, "docs/desk-bugs.md"), "## Asked for there")
	var named []string
	for row := range strings.SplitSeq(page, "\n") {
		cells := strings.Split(row, "|")
		if len(cells) != 5 || !deskNumber.MatchString(cells[1]) {
			continue
		}
		found := scenariosOf(t, titles, cells[3])
		for _, n := range deskNumber.FindAllString(cells[1], -1) {
			named = append(named, n)
			if !slices.ContainsFunc(found, func(title string) bool { return slices.Contains(deskNumber.FindAllString(title, -1), n) }) {
				t.Errorf("docs/desk-bugs.md: no scenario of %q names %s", strings.TrimSpace(cells[3]), n)
			}
		}
	}
	if len(named) == 0 {
		t.Fatal("docs/desk-bugs.md has no numbers: this test looks for the wrong thing")
	}
	for file, list := range titles {
		for _, title := range list {
			for _, n := range deskNumber.FindAllString(title, -1) {
				if !slices.Contains(named, n) {
					t.Errorf("%s: %s of %q is not in docs/desk-bugs.md", file, n, title)
				}
			}
		}
	}
}

// scenariosOf returns the titles that a cell names: "FILE: part of a title; another".
// Each part has to be of one case alone.
func scenariosOf(t *testing.T, titles map[string][]string, cell string) (found []string) {
	t.Helper()
	file := ""
	for part := range strings.SplitSeq(cell, ";") {
		part = strings.TrimSpace(part)
		if f, rest, ok := strings.Cut(part, ".txt: "); ok {
			file, part = f+".txt", rest
		}
		n := 0
		for _, title := range titles[file] {
			if strings.Contains(title, part) {
				found = append(found, title)
				n++
			}
		}
		if n != 1 {
			t.Errorf("docs/desk-bugs.md: %d cases of %q are called %q, want one", n, file, part)
		}
	}
	return found
}
