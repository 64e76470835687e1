package e2e

import (
	"fmt"
	"net/url"
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

// The recipe for consumer groups in data.md: each command is run as it stands, on the
// hub's Redis, and does what is said of it.
func TestManual_ConsumerGroup(t *testing.T) {
	t.Parallel()
	h := shared(t)
	redis := onRedis(t, h)
	doc, err := os.ReadFile("../../docs/data.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^redis-cli .*$`).FindAllString(string(doc), -1)
	if len(commands) != 5 {
		t.Fatalf("%d commands: this test looks in the wrong place: %q", len(commands), commands)
	}
	if out := redis(commands[0]); out != "OK\n" {
		t.Errorf("%s: %s", commands[0], out)
	}
	if out := redis(commands[1]); entryID.MatchString(out) {
		t.Errorf("%s has something unfinished: %s", commands[1], out)
	}
	room, _ := h.globalRoom(t)
	text := fresh("by the book ")
	if _, err := h.admin(t).Send(t.Context(), roomID(room), text, "n1"); err != nil {
		t.Fatal(err)
	}
	got := ""
	eventually(t, "the worker is told", func() bool { got += redis(commands[2]); return strings.Contains(got, text) })
	entries := entryID.FindAllString(got, -1)
	if out := redis(commands[1]); !strings.Contains(out, entries[0]) {
		t.Errorf("%s does not have what was not finished: %s", commands[1], out)
	}
	for _, id := range entries {
		ack := regexp.MustCompile(`\d{13}-\d+`).ReplaceAllString(commands[3], id)
		if out := redis(ack); out != "1\n" || ack == commands[3] {
			t.Errorf("%s: %s", ack, out)
		}
	}
	if out := redis(commands[4]); !strings.HasPrefix(out, "0-0\n") || entryID.MatchString(out) {
		t.Errorf("%s: %s", commands[4], out)
	}
}

// onRedis runs a command of redis-cli, as somebody types it, on a hub's Redis.
func onRedis(t *testing.T, h *hub) func(command string) string {
	t.Helper()
	u, err := url.Parse(h.file(t).RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	bin := scratch(t)
	script := fmt.Sprintf("#!/bin/sh\nexec %s -h %s -p %s \"$@\"\n", tool(t, "redis-cli"), u.Hostname(), u.Port())
	if err := os.WriteFile(filepath.Join(bin, "redis-cli"), []byte(script), 0o700); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return func(command string) string {
		t.Helper()
		r := run(t, bin, []string{"REDISCLI_AUTH=" + password, "PATH=" + bin + ":" + os.Getenv("PATH")}, tool(t, "sh"), "-c", command)
		if r.status != 0 || strings.Contains(r.out, "ERR") {
			t.Fatalf("%s: status %d %s%s", command, r.status, r.out, r.err)
		}
		return r.out
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
