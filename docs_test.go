package vezechat_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the documents name must exist: a page that is wrong is worse than none.

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sources returns the module's Go files outside tests, one after the other.
func sources(t *testing.T, dirs ...string) string {
	t.Helper()
	var all strings.Builder
	for dir, files := range packages(t) {
		for _, f := range files {
			if slices.ContainsFunc(dirs, func(d string) bool { return dir == d || strings.HasPrefix(dir, d+"/") }) {
				all.WriteString(read(t, f.path))
			}
		}
	}
	return all.String()
}

// firsts returns the first group of each match, each once.
func firsts(pattern, text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

func TestDocs_LinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && !ours(path, d.Name()) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		for _, link := range firsts(`\]\(([^)\s]+)\)`, read(t, path)) {
			file, _, _ := strings.Cut(link, "#")
			if file == "" || strings.Contains(link, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), file)); err != nil {
				t.Errorf("%s links to %s, which is not there", path, link)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDocs_EverySettingIsExplained(t *testing.T) {
	t.Parallel()
	example := firsts(`(?m)^#?([A-Z][A-Z0-9_]+)=`, read(t, ".env.example"))
	manual := read(t, "docs/operations.md")
	settings := firsts(`setting:"([A-Z0-9_]+)"`, sources(t, "cmd/vezechat"))
	if len(settings) == 0 {
		t.Fatal("cmd/vezechat has no settings: this test looks in the wrong place")
	}
	for _, s := range settings {
		if !slices.Contains(example, s) {
			t.Errorf("the setting %s is not in .env.example", s)
		}
	}
	for _, s := range example {
		if !slices.Contains(settings, s) {
			t.Errorf(".env.example has %s, which no command reads", s)
		}
	}
	for _, s := range firsts("`([A-Z]+_[A-Z0-9_]+)`", manual[:strings.Index(manual, "## Roles")]) {
		if !slices.Contains(settings, s) {
			t.Errorf("docs/operations.md has %s, which no command reads", s)
		}
	}
}

// A metric's name is written whole, or without "vezechat_<role>_" where a package
// puts that before all of its own.
func TestDocs_MetricsExist(t *testing.T) {
	t.Parallel()
	code := sources(t, "edge", "storage", "bridge", "routing", "internal")
	for _, name := range firsts(`(vezechat_[a-z_]+[a-z])`, read(t, "docs/operations.md")) {
		parts := strings.SplitN(name, "_", 3)
		if !strings.Contains(code, `"`+name+`"`) && !strings.Contains(code, `"`+parts[2]+`"`) {
			t.Errorf("docs/operations.md names the metric %s, which nobody counts", name)
		}
	}
}

func TestDocs_ProtocolIsWhole(t *testing.T) {
	t.Parallel()
	doc, code := read(t, "docs/protocol.md"), sources(t, "edge/wire")
	for _, n := range firsts(`CloseCode = (\d{4})\b`, code) {
		if !regexp.MustCompile(`(?m)^\| (\d{4}, )?` + n + `[, ]`).MatchString(doc) {
			t.Errorf("docs/protocol.md does not explain the close code %s", n)
		}
	}
	for _, op := range firsts(`Op = "([a-z]+)"`, code) {
		if !regexp.MustCompile("(?m)^\\|.*`" + op + "`.*\\|").MatchString(doc) {
			t.Errorf("docs/protocol.md does not explain the operation %s", op)
		}
	}
	for _, e := range firsts(`EventType = "([a-z.]+)"`, read(t, "eventtype.go")) {
		if kind := e[strings.LastIndex(e, "."):]; !strings.Contains(read(t, "docs/data.md"), e) && !strings.Contains(read(t, "docs/data.md"), "`"+kind+"`") {
			t.Errorf("docs/data.md does not explain the event %s", e)
		}
	}
}

// Every call of the desk is in its manual, as a command; a test in internal/e2e runs
// them.
func TestDocs_DeskIsWhole(t *testing.T) {
	t.Parallel()
	var api struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(read(t, "edge/openapi.json")), &api); err != nil {
		t.Fatal(err)
	}
	shown := commands(read(t, "docs/desk.md"))
	calls := 0
	for path, item := range api.Paths {
		for method, raw := range item {
			var op struct{ Tags []string }
			if json.Unmarshal(raw, &op) != nil || !slices.ContainsFunc(op.Tags, func(tag string) bool { return tag == "tickets" || tag == "desk" || tag == "settings" }) {
				continue
			}
			calls++
			call := regexp.MustCompile("^" + strings.ToUpper(method) + " " + regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, `[^/]+`) + "$")
			if !slices.ContainsFunc(shown, call.MatchString) {
				t.Errorf("docs/desk.md has no command for %s %s", strings.ToUpper(method), path)
			}
		}
	}
	if calls < 60 {
		t.Errorf("%d calls: this test looks in the wrong place", calls)
	}
}

// commands are the calls of a manual's curl commands, as "POST /tickets/1/assign".
func commands(manual string) (out []string) {
	for _, c := range strings.Split(strings.ReplaceAll(manual, "\\\n", " "), "curl -s ")[1:] {
		line, _, _ := strings.Cut(c, "\n")
		path := regexp.MustCompile(`\$HUB([^ "?]+)`).FindStringSubmatch(line)
		if path == nil {
			continue
		}
		method := "GET"
		if m := regexp.MustCompile(`-X ([A-Z]+)`).FindStringSubmatch(line); m != nil {
			method = m[1]
		} else if strings.Contains(line, " -d ") {
			method = "POST"
		}
		out = append(out, method+" "+path[1])
	}
	return out
}

// The tests by which docs/security.md and docs/attacks.md show what they say are there;
// every row of the attacks has one, and every test that is an attack a row.
func TestDocs_SecurityIsShown(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, name := range firsts(`(?m)^func ((?:Test|Fuzz)\w+)\(`, read(t, path)) {
			tests[name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const pattern = "`((?:Test|Fuzz)[A-Z]\\w+)`"
	for page, least := range map[string]int{"docs/security.md": 20, "docs/attacks.md": 50} {
		named := firsts(pattern, read(t, page))
		for _, name := range named {
			if !tests[name] {
				t.Errorf("%s is shown by %s, which is not there", page, name)
			}
		}
		if len(named) < least {
			t.Errorf("%s names %d tests: this test looks in the wrong place", page, len(named))
		}
	}
	attacks := read(t, "docs/attacks.md")
	for row := range strings.Lines(attacks) {
		cells := strings.Split(row, " | ")
		if len(cells) != 3 || strings.Contains(row, "**") || cells[0] == "| attack" {
			continue
		}
		if len(firsts(pattern, cells[2])) == 0 {
			t.Errorf("docs/attacks.md: no test tries %q", cells[0])
		}
	}
	for name := range tests {
		if strings.HasPrefix(name, "TestAttack_") && !strings.Contains(attacks, "`"+name+"`") {
			t.Errorf("docs/attacks.md does not name %s", name)
		}
	}
}
