package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands of the manual work on a new hub, one after the other.
func TestManual_Desk(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	doc, err := os.ReadFile("../../docs/desk.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	// What is refused, or is no answer, ends the script.
	script := "set -e\ncurl() { command curl --fail-with-body --show-error \"$@\"; echo; }\n"
	calls := 0
	for _, b := range blocks {
		script += b[1]
		calls += strings.Count(b[1], "curl ")
	}
	if calls < 50 {
		t.Fatalf("%d calls: this test looks in the wrong place", calls)
	}
	h := own(t, hubOptions{})
	script = strings.Replace(script, "HUB=http://localhost:8010", "HUB="+h.url, 1)
	program, err := world.program()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(h.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil { //nolint:gosec // beside the hub's own files
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(bin, "vezechat")); err != nil {
		t.Fatal(err)
	}
	if r := run(t, h.dir, []string{"DATA_DIR=data"}, tool(t, "sh"), "-c", script); r.status != 0 {
		t.Errorf("status %d:\n%s%s", r.status, r.out, r.err)
	}
}
