package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands of the manuals work on a new hub, one after the other.
func TestManual_Desk(t *testing.T) {
	t.Parallel()
	manual(t, "desk.md", 50)
}

func TestManual_Helm(t *testing.T) {
	t.Parallel()
	out := manual(t, "helm.md", 2)
	for _, want := range []string{`"cursor":`, "retry: 3000", "event: room", "event: count"} {
		if !strings.Contains(out, want) {
			t.Errorf("the ticker's commands print no %s: %s", want, out)
		}
	}
}

// manual runs the commands of a manual, least of them with curl, and returns what they
// print.
func manual(t *testing.T, name string, least int) string {
	t.Helper()
	tool(t, "curl")
	doc, err := os.ReadFile("../../docs/" + name)
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
	if calls < least {
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
	r := run(t, h.dir, []string{"DATA_DIR=data"}, tool(t, "sh"), "-c", script)
	if r.status != 0 {
		t.Errorf("status %d:\n%s%s", r.status, r.out, r.err)
	}
	return r.out
}
