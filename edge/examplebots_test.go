package edge_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// runs builds an example and runs it until the test ends; it returns when the example
// has said that it is ready.
func (d *deskWorld) runsExample(name string, env ...string) {
	d.t.Helper()
	t := d.t.(*testing.T)
	bin := filepath.Join(t.TempDir(), name)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../docs/bots/"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.Stderr = t.Output()
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%s: %q, %v", name, line, err)
	}
}

// The two bots of the documents, as processes of their own, beside a hub.
func TestExampleBots_Run(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t, func(d *deskWorld) { d.live = true })
	base, _ := d.serve(t)
	d.calls(here127)
	room := d.guildWith(alice, bob)
	d.runsExample("dice", "HUB_URL="+base, "BOT_KEY="+d.bot("dice").Secret, "LISTEN=127.0.0.1:0")
	d.runsExample("echo", "HUB_URL="+base, "BOT_KEY="+d.bot("echo").Secret, "NATS_URL="+d.nats.ClientURL())
	say := func(text, want string) {
		t.Helper()
		a := d.must(200, "POST", room+"/messages", d.as(alice), fmt.Sprintf(`{"text":%q}`, text))
		if !strings.Contains(a.body, want) {
			t.Errorf("%s: %s", text, a.body)
		}
	}
	say("/roll 2d6+1", `"to":"room"`)
	rolled := regexp.MustCompile(`^@dice\[bot\]: @alice rolled 2d6\+1: [1-6] \+ [1-6] \+ 1 = \d+$`)
	d.until("a roll", func() bool {
		list := d.texts(room, d.as(bob))
		return len(list) == 1 && rolled.MatchString(list[0])
	})
	say("/roll a lot", `"to":"caller","text":"say how many dice`)
	say("/echo hello", `"to":"caller","text":"hello"`)
	say("/say hello all", `"to":"room"`)
	d.untilText(room, d.as(bob), "@echo[bot]: hello all")
}
