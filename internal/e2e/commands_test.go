package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every command explains itself, and says what is wrong by the name it has.
func TestCommands_Help(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"serve", "migrate", "token", "send", "tail", "replay", "bench"} {
		r := vezechatIn(t, world.dir, nil, name, "--help")
		if r.status != 0 || !strings.Contains(r.out, "Examples:") && !strings.Contains(r.out, "Example:") || !strings.Contains(r.out, "vezechat "+name) {
			t.Errorf("%s --help: status %d %s%s", name, r.status, r.out, r.err)
		}
	}
	if r := vezechatIn(t, world.dir, nil, "version"); r.status != 0 || !strings.HasPrefix(r.out, "VEZEPyChat ") {
		t.Errorf("version: status %d %s%s", r.status, r.out, r.err)
	}
}

func TestCommands_Refuse(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	for _, c := range []struct {
		what string
		env  []string
		args []string
		says string
	}{
		{"unknown flag", nil, []string{"serve", "--no-such-flag"}, "--no-such-flag"},
		{"unknown command", nil, []string{"serv"}, "serv"},
		{"no command", nil, nil, "expected"},
		{"DATABASE_URL of another kind", []string{"DATABASE_URL=mysql://localhost/x"}, []string{"serve"}, "DATABASE_URL"},
		{"DATABASE_URL that is none", []string{"DATABASE_URL=::x::s3cret"}, []string{"serve"}, "DATABASE_URL"},
		{"REDIS_URL", []string{"REDIS_URL=localhost:6379"}, []string{"serve"}, "REDIS_URL"},
		{"PORT", []string{"PORT=eighty"}, []string{"serve"}, "PORT"},
		{"PORT as a flag", nil, []string{"serve", "--port", "80800"}, "PORT"},
		{"NATS_URL", []string{"NATS_URL=http://x"}, []string{"serve"}, "NATS_URL"},
		{"ENV", []string{"ENV=production"}, []string{"serve"}, "ENV"},
		{"ROLES", nil, []string{"serve", "--roles", "edge,cook"}, "ROLES"},
		{"LOG_LEVEL", []string{"LOG_LEVEL=loud"}, []string{"serve"}, "LOG_LEVEL"},
		{"DOMAIN_GATE", []string{"DOMAIN_GATE=nodots"}, []string{"serve"}, "DOMAIN_GATE"},
		{"prod without a database", []string{"ENV=prod"}, []string{"serve"}, "DATABASE_URL"},
		{"a token in prod", []string{"ENV=prod"}, []string{"token", "--handle", "x"}, "prod"},
		{"a token for nobody", nil, []string{"token"}, "--handle"},
		{"send without a hub", nil, []string{"send", "--room", "Lobby", "--text", "x"}, "DATA_DIR"},
		{"migrate of a database that is away", []string{"DATABASE_URL=postgres://127.0.0.1:1/x"}, []string{"migrate", "--timeout", "3s"}, "DATABASE_URL"},
		{"serve of a NATS that is away", []string{"NATS_URL=nats://127.0.0.1:1", "PORT=0"}, []string{"serve", "--roles", "edge"}, "NATS_URL"},
		{"replay of no file", nil, []string{"replay", "nowhere.jsonl"}, "nowhere.jsonl"},
	} {
		r := vezechatIn(t, dir, c.env, c.args...)
		if r.status == 0 || r.status > 125 || !strings.Contains(r.err, c.says) {
			t.Errorf("%s: status %d, %q, want it to name %s", c.what, r.status, r.err, c.says)
		}
		if strings.Contains(r.err, "s3cret") || strings.Contains(r.err, "goroutine ") || strings.Count(r.err, "\n") > 5 {
			t.Errorf("%s: %s", c.what, r.err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "pg")); err == nil {
		t.Error("a command that was refused left a database behind")
	}
}

// send and tail are a chat in the terminal.
func TestCommands_SendAndTail(t *testing.T) {
	t.Parallel()
	h := shared(t)
	_, name := h.globalRoom(t)
	program, err := world.program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tail := exec.CommandContext(ctx, program, "tail", "--room", name, "--after", "1", "--count", "5", "--handle", "listener") //nolint:gosec // our own program
	var errs buffer
	tail.Dir, tail.Env, tail.Stderr = h.dir, append(bare(), "DATA_DIR=data"), &errs
	out, err := tail.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`^\d+\n$`)
	for i, args := range [][]string{{}, {"--socket"}, {"--nonce", "again"}, {"--nonce", "again"}} {
		r := h.vezechat(t, append([]string{"send", "--room", name, "--text", fmt.Sprint("by hand ", min(i, 2)), "--handle", "typist"}, args...)...)
		if r.status != 0 || !id.MatchString(r.out) {
			t.Fatalf("send %v: status %d %s%s", args, r.status, r.out, r.err)
		}
	}
	var got []string
	for sc := bufio.NewScanner(out); sc.Scan(); {
		var e struct{ Type, Text string }
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			t.Errorf("tail says %q", sc.Text())
		}
		got = append(got, e.Type+" "+e.Text)
	}
	if err := tail.Wait(); err != nil {
		t.Errorf("tail: %v %s", err, &errs)
	}
	want := "room.created |room.member.joined |chat.message.created by hand 0|chat.message.created by hand 1|chat.message.created by hand 2"
	if strings.Join(got, "|") != want {
		t.Errorf("tail told %q, want %s", got, want)
	}
	if r := h.vezechat(t, "send", "--room", "no room of that name", "--text", "x"); r.status != 1 || !strings.Contains(r.err, "no room of that name") {
		t.Errorf("send to nowhere: status %d %s", r.status, r.err)
	}
	if r := h.vezechat(t, "send", "--room", name, "--text", "x", "--token", "rubbish"); r.status != 1 || r.err == "" {
		t.Errorf("send with a bad token: status %d %s", r.status, r.err)
	}
}

// A recording of 200 lines comes through two edges to everybody, PostgreSQL and
// Redis, and the report says so; a load of a second too.
func TestCommands_ReplayAndBench(t *testing.T) {
	t.Parallel()
	h, e := shared(t), secondEdge(t)
	path := filepath.Join(scratch(t), "chat.jsonl")
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, `{"room":"deck %d","ts":"2026-11-23T12:00:%02d.%03dZ","user":"crew%d","text":"line %d of the log ✦"}`+"\n", i%3, i/10%60, i%10, i%7, i)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r := h.vezechat(t, "replay", path, "--url", h.url, "--url", e.url)
	t.Logf("%s", r.out)
	if r.status != 0 || !regexp.MustCompile(`(?m)^ *stored.*200`).MatchString(r.out) || !regexp.MustCompile(`(?m)^ *mirrored.*200`).MatchString(r.out) {
		t.Errorf("replay: status %d %s%s", r.status, r.out, r.err)
	}
	r = h.vezechat(t, "bench", "--sockets", "20", "--rooms", "4", "--rate", "20", "--duration", "2s")
	t.Logf("%s", r.out)
	if r.status != 0 || !strings.Contains(r.out, "lost") {
		t.Errorf("bench: status %d %s%s", r.status, r.out, r.err)
	}
}

// left are the processes that live in or from a directory.
func left(t *testing.T, dir string) []string {
	t.Helper()
	r := run(t, "/", nil, tool(t, "ps"), "-axo", "pid=,args=")
	var out []string
	for l := range strings.Lines(r.out) {
		pid, _, _ := strings.Cut(strings.TrimSpace(l), " ")
		cwd := ""
		if runtime.GOOS == "linux" {
			cwd, _ = os.Readlink("/proc/" + pid + "/cwd")
		}
		if strings.Contains(l, dir) || strings.HasPrefix(cwd, dir) {
			out = append(out, strings.TrimSpace(l))
		}
	}
	return out
}

// A hub's life on one DATA_DIR: a second one is refused, a kill loses nothing and
// stops no later start, Ctrl-C drains in seconds and leaves no process.
func TestCommands_Life(t *testing.T) {
	t.Parallel()
	o := hubOptions{dir: scratch(t)}
	h := own(t, o)
	if len(left(t, o.dir)) < 3 { // itself, PostgreSQL and Redis: or left sees nothing
		t.Fatalf("processes: %q", left(t, o.dir))
	}
	send := func(text string) {
		t.Helper()
		if r := h.vezechat(t, "send", "--room", "Lobby", "--text", text); r.status != 0 {
			t.Fatalf("send: %s", r.err)
		}
	}
	send("yesterday")
	if r := vezechatIn(t, o.dir, []string{"DATA_DIR=data", "PORT=0"}, "serve"); r.status != 1 || !strings.Contains(r.err, "in use by process "+strconv.Itoa(h.cmd.Process.Pid)) || strings.Count(r.err, "\n") > 2 {
		t.Errorf("a second hub on the directory: status %d %s", r.status, r.err)
	}
	if r := h.vezechat(t, "migrate"); r.status != 0 {
		t.Errorf("migrate: status %d %s", r.status, r.err)
	}
	_, taken, _ := strings.Cut(strings.TrimPrefix(h.url, "http://"), ":")
	other := scratch(t)
	if r := vezechatIn(t, other, []string{"DATA_DIR=data", "PORT=" + taken, "NATS_LISTEN=127.0.0.1:0"}, "serve"); r.status != 1 || !strings.Contains(r.err, "PORT") || !strings.Contains(r.err, "in use") {
		t.Errorf("a hub on a port that is taken: status %d %s", r.status, r.err)
	}
	if l := left(t, other); len(l) > 0 {
		t.Errorf("it left behind %q", l)
	}
	h.kill()
	h = own(t, o)
	send("today")
	eventually(t, "yesterday's message is there", func() bool {
		r := curl(t, h, h.token(t, "cli", "chat.read chat.write"), "/rooms/1/messages")
		return strings.Contains(r.raw, "yesterday") && strings.Contains(r.raw, "today")
	})
	began := time.Now()
	_ = h.cmd.Process.Signal(syscall.SIGINT)
	<-h.done
	t.Logf("Ctrl-C took %v", time.Since(began))
	if took := time.Since(began); took > limit(5*time.Second) || h.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("Ctrl-C: %v, status %d %s", took, h.cmd.ProcessState.ExitCode(), h.log)
	}
	if l := left(t, o.dir); len(l) > 0 {
		t.Errorf("it left behind %q", l)
	}
	if _, err := os.Stat(filepath.Join(h.data, "hub.json")); err == nil {
		t.Error("hub.json is still there")
	}
}

// PostgreSQL and Redis are killed under the hub: /readyz tells which part is away
// and why, and all comes back by itself, with what was said meanwhile.
func TestCommands_PartsDie(t *testing.T) {
	t.Parallel()
	h := own(t, hubOptions{})
	admin := h.admin(t)
	cli := redisCLI(t, h.file(t))
	away := func(part string) {
		t.Helper()
		said := regexp.MustCompile(`"name":"` + part + `","ok":false,.*?"why":"[^"]+"`)
		eventually(t, part+" is said to be away", func() bool {
			a := curl(t, h, admin.Token, "/readyz")
			if m := said.FindString(a.raw); m != "" {
				t.Logf("%d %s", a.status, m)
				return true
			}
			return false
		})
	}
	back := func(what string) {
		t.Helper()
		text := "after " + what
		eventually(t, "the hub is ready after "+what, func() bool {
			a := curl(t, h, admin.Token, "/readyz")
			return a.status == 200 && !strings.Contains(a.raw, `"ok":false`)
		})
		if _, err := admin.Send(t.Context(), 1, text, fresh("n")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a line is stored after "+what, func() bool {
			return strings.Contains(curl(t, h, admin.Token, "/rooms/1/messages").raw, text)
		})
	}
	pid, err := os.ReadFile(postmaster(t, h))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(pid), "\n")
	n, err := strconv.Atoi(first)
	if err != nil || n < 2 {
		t.Fatalf("postmaster.pid: %q", pid)
	}
	_ = syscall.Kill(n, syscall.SIGKILL)
	away("postgres")
	back("PostgreSQL was killed")

	m := regexp.MustCompile(`process_id:(\d+)`).FindStringSubmatch(cli("INFO", "server"))
	n, _ = strconv.Atoi(m[1])
	_ = syscall.Kill(n, syscall.SIGSTOP)
	if _, err := admin.Send(t.Context(), 1, "while Redis hangs", "hang"); err != nil {
		t.Error(err)
	}
	away("bridge")
	_ = syscall.Kill(n, syscall.SIGCONT)
	back("Redis hung")
	_ = syscall.Kill(n, syscall.SIGKILL)
	back("Redis was killed")
	at, err := url.Parse(h.file(t).RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis answers again", func() bool { // the hub may not even have missed it yet
		c, err := net.DialTimeout("tcp", at.Host, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	eventually(t, "the stream has it all", func() bool {
		out := cli("XREVRANGE", "veze.chat", "+", "-", "COUNT", "50")
		return strings.Contains(out, "after Redis was killed") && strings.Count(out, "while Redis hangs") == 1
	})
}

func postmaster(t *testing.T, h *hub) string {
	t.Helper()
	found := ""
	_ = filepath.WalkDir(filepath.Join(h.data, "pg"), func(path string, _ os.DirEntry, _ error) error {
		if filepath.Base(path) == "postmaster.pid" {
			found = path
			return filepath.SkipAll
		}
		return nil
	})
	if found == "" {
		t.Fatal("no postmaster.pid")
	}
	return found
}
