package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// buildNATS makes the nats command, in the version of internal/natscli.
var buildNATS = built("natscli", "github.com/nats-io/natscli/nats")

// natsCommand returns what runs a line of a shell in which nats is the nats command with options.
func natsCommand(t *testing.T, options ...string) func(line string) (out string, err error) {
	t.Helper()
	path, err := buildNATS()
	if err != nil {
		t.Fatal(err)
	}
	bin := scratch(t)
	script := "#!/bin/sh\nexec " + path + " '" + strings.Join(options, "' '") + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "nats"), []byte(script), 0o700); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}
	return func(line string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", line) //nolint:gosec // a line of the manual, or of this test
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+bin, "XDG_CONFIG_HOME="+bin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// What the manuals say of the nats command holds for it: a game's user publishes what is its
// own, once for each id, and neither publishes nor hears anything else; a trend makes its room;
// whoever runs the hub looks at the work queue and at the dead letters.
func TestNATSCommand(t *testing.T) {
	t.Parallel()
	h := own(t, hubOptions{env: []string{"GAME_USERS=cs16:the-secret,xengine:another", "TREND_SOURCES=xengine"}})
	at := h.file(t).NatsURL
	game := natsCommand(t, "-s", at, "--user", "cs16", "--password", "the-secret", "--inbox-prefix", "_INBOX_cs16")
	for i, want := range []string{`"seq":1`, `"duplicate":true`} {
		out, err := game(`nats request --raw -H Nats-Msg-Id:cs16.m1.1 veze.game.cs16.m1 '{"type":"killfeed","actor":"Ann","victim":"Bob","weapon":"usp"}'`)
		if err != nil || !strings.Contains(strings.ReplaceAll(out, " ", ""), want) {
			t.Errorf("publication %d: %v %s, want %s", i, err, out, want)
		}
	}
	for _, line := range []string{
		`nats request --timeout 2s veze.game.tf2.m1 '{"type":"notice","text":"another game"}'`,
		`nats request --timeout 2s veze.room.1 '{"type":"chat.message.created"}'`,
		`nats stream ls --timeout 2s`,
		`timeout 2 nats sub 'veze.live.>'`,
	} {
		if out, err := game(line); !strings.Contains(strings.ToLower(out), "permissions violation") && (err == nil || !strings.Contains(out, "timeout")) {
			t.Errorf("%s: %v %s", line, err, out)
		}
	}
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^nats pub .*$`).FindAllString(string(doc), -1)
	if len(lines) != 1 {
		t.Fatalf("%d lines: this test looks in the wrong place: %q", len(lines), lines)
	}
	trends := natsCommand(t, "-s", at, "--user", "xengine", "--password", "another", "--inbox-prefix", "_INBOX_xengine")
	for range 2 {
		if out, err := trends(lines[0]); err != nil {
			t.Errorf("%s: %v %s", lines[0], err, out)
		}
	}
	operator, err := os.ReadFile(filepath.Join(h.data, "nats.url"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lines are stored", func() bool {
		return h.query(t, "SELECT string_agg(r.name || ': ' || m.text, ', ' ORDER BY r.name DESC) FROM messages m JOIN rooms r ON r.id = m.room_id WHERE r.kind IN ('party', 'global')") ==
			"cs16/m1: Ann killed Bob with usp, #quantum-alerts: quantum core: 40 mentions in 5 minutes"
	})
	if out, err := game(`nats request --raw veze.game.cs16.m1 '{"type":"dance"}'`); err != nil {
		t.Errorf("an unknown type is kept: %v %s", err, out)
	}
	run := natsCommand(t, "-s", strings.TrimSpace(string(operator)))
	if out, err := run(`nats stream info GAME`); err != nil || !strings.Contains(out, "veze.game.*.*") {
		t.Errorf("the work queue: %v %s", err, out)
	}
	var out string
	defer func() {
		if t.Failed() {
			t.Log(out)
		}
	}()
	eventually(t, "the dead letter", func() bool {
		out, err = run(`nats stream get DLQ --last-for veze.dlq.game.game.cs16.m1`)
		return err == nil && strings.Contains(out, "bad_request: type: want match.opened")
	})
}
