package devstack

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		runChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// need skips a test without its server, and fails it where that must not pass
// unseen.
func need(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func startPostgres(t *testing.T, dir string) *Postgres {
	t.Helper()
	_, err := PostgresHome(t.Context(), "")
	need(t, err)
	p, err := StartPostgres(deadline(t), Options{Dir: dir, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(deadline(t)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// psql runs SQL as any client would: through the URL.
func psql(t *testing.T, p *Postgres, sql string) string {
	t.Helper()
	cmd := exec.CommandContext(deadline(t), filepath.Join(p.home, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, p.URL(pgDatabase))
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

func startRedis(t *testing.T, dir string) *Redis {
	t.Helper()
	_, err := RedisServer()
	need(t, err)
	r, err := StartRedis(deadline(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(deadline(t)); err != nil {
			t.Error(err)
		}
	})
	return r
}

// redis sends one inline command through the URL and returns the first line of
// the answer, for a bulk string the second.
func redis(t *testing.T, address, command string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if pw, ok := u.User.Password(); ok {
		command = "AUTH " + pw + "\r\n" + command
	}
	fmt.Fprint(conn, command+"\r\n")
	in := bufio.NewReader(conn)
	line := ""
	for ok := true; ok; ok = line == "+OK" && strings.HasPrefix(command, "AUTH") || strings.HasPrefix(line, "$") {
		if line == "+OK" {
			command = ""
		}
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		line = strings.TrimSpace(line)
	}
	return line
}

func TestPostgres_KeepsItsDataOverStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startPostgres(t, dir)
	address := p.URL(pgDatabase)
	psql(t, p, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
	if got := psql(t, p, "SELECT setting FROM pg_settings WHERE name = 'listen_addresses'"); got != "" {
		t.Errorf("listens on %q, want on no port", got)
	}
	if got := psql(t, p, "SELECT lower('ÄÉЖ')"); got != "äéж" {
		t.Errorf("lower of letters beyond ASCII = %q: the cluster's ctype is not UTF-8", got)
	}
	if err := p.Stop(deadline(t)); err != nil {
		t.Fatal(err)
	}
	p = startPostgres(t, dir)
	if got := psql(t, p, "SELECT n FROM kept"); got != "7" {
		t.Errorf("after a restart: %q, want 7", got)
	}
	if got := p.URL(pgDatabase); got != address {
		t.Errorf("the address changed from %s to %s", address, got)
	}
}

func TestPostgres_OnlyItsUserGetsIn(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, t.TempDir())
	fi, err := os.Stat(p.sockets)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Mode().Perm(); got != 0o700 {
		t.Errorf("the socket's directory has mode %o, want 700", got)
	}
}

func TestPostgres_KillOfPostmaster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startPostgres(t, dir)
	psql(t, p, "CREATE TABLE kept (n int)")
	for i := range 3 {
		psql(t, p, fmt.Sprintf("INSERT INTO kept VALUES (%d)", i))
		// A backend that is busy when its postmaster dies.
		busy := exec.Command(filepath.Join(p.home, "psql"), "-Xc", "SELECT pg_sleep(20)", p.URL(pgDatabase))
		if err := busy.Start(); err != nil {
			t.Fatal(err)
		}
		p.Kill()
		select {
		case <-p.Done():
		default:
			t.Fatal("killed, and not done")
		}
		p = startPostgres(t, dir)
		_ = busy.Wait() // its session is gone
	}
	if got := psql(t, p, "SELECT count(*) FROM kept"); got != "3" {
		t.Errorf("%s rows after three kills, want 3", got)
	}
}

func TestPostgres_PIDFileOfAStranger(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startPostgres(t, dir)
	p.Kill()
	// The number is taken by a process that is not PostgreSQL, under the user that
	// PostgreSQL runs as: what PostgreSQL itself would give up on.
	stranger := exec.Command("sleep", "60")
	stranger.SysProcAttr = attributes(p.as, syscall.SIGKILL)
	stranger.Dir = "/"
	proc, err := startProcess(stranger)
	if err != nil {
		t.Fatal(err)
	}
	defer proc.kill()
	for _, file := range p.lockFiles() {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "\n")
		if err := os.WriteFile(file, []byte(strconv.Itoa(proc.pid())+"\n"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p = startPostgres(t, dir)
	psql(t, p, "SELECT 1")
	select {
	case <-proc.done:
		t.Error("the stranger was ended")
	default:
	}
}

func TestPostgres_PathWithASpace(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, filepath.Join(t.TempDir(), "my games", "pg"))
	if got := psql(t, p, "SELECT 1"); got != "1" {
		t.Errorf("got %q", got)
	}
}

func TestPostgres_LongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "with 'space and \"quotes")
	p := startPostgres(t, dir)
	if got := psql(t, p, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %q", got)
	}
	if p.sockets == dir {
		t.Errorf("the socket is in %s, longer than a socket's path may be", dir)
	}
	if err := p.Stop(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.sockets); err == nil {
		t.Errorf("%s is left behind", p.sockets)
	}
}

func TestPostgres_InterruptedInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	psql(t, startPostgres(t, dir), "SELECT 1")
}

func TestPostgres_SocketDirectoryOfSomebodyElse(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("giving a directory away needs root")
	}
	dir := filepath.Join(t.TempDir(), "taken")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if err := private(dir, &account{1, 1}); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("private = %v, want a refusal", err)
	}
}

func TestPostgres_SaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startPostgres(t, dir)
	if err := p.Stop(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.cluster, "postgresql.auto.conf"), []byte("no_such_setting = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(deadline(t), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("error %v, want one that names no_such_setting", err)
	}
	if err := os.WriteFile(filepath.Join(p.cluster, "PG_VERSION"), []byte("8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = StartPostgres(deadline(t), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "the data are of PostgreSQL 8") {
		t.Errorf("error %v, want one that names the version", err)
	}
}

func TestPostgres_CancelledStart(t *testing.T) {
	t.Parallel()
	_, err := PostgresHome(t.Context(), "")
	need(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	dir := t.TempDir()
	if p, err := StartPostgres(ctx, Options{Dir: dir, Volatile: true}); err == nil {
		p.Kill()
		t.Skip("the cluster was made and started within 50 ms")
	}
	psql(t, startPostgres(t, dir), "SELECT 1")
}

func TestRedis_KeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `a "dir" \ with`)
	r := startRedis(t, dir)
	address := r.URL()
	redis(t, address, "SET kept 7")
	if err := r.Stop(deadline(t)); err != nil {
		t.Fatal(err)
	}
	r = startRedis(t, dir)
	if got := redis(t, r.URL(), "GET kept"); got != "7" {
		t.Errorf("after a stop: %q, want 7", got)
	}
	redis(t, r.URL(), "SET kept 8")
	r.Kill()
	select {
	case <-r.Done():
	default:
		t.Fatal("killed, and not done")
	}
	r = startRedis(t, dir)
	if got := redis(t, r.URL(), "GET kept"); got != "8" {
		t.Errorf("after a kill: %q, want 8", got)
	}
	if r.URL() != address {
		t.Errorf("the address changed from %s to %s", address, r.URL())
	}
}

func TestRedis_PasswordIsNeeded(t *testing.T) {
	t.Parallel()
	r := startRedis(t, t.TempDir())
	if got := redis(t, "redis://"+r.addr(), "PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("PING without the password: %q, want -NOAUTH", got)
	}
	for _, arg := range r.proc.cmd.Args {
		if strings.Contains(arg, r.password) {
			t.Error("the password is in the arguments, for every user to read")
		}
	}
}

func TestRedis_PortTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startRedis(t, dir)
	if err := r.Stop(deadline(t)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", r.addr())
	if err != nil {
		t.Skip("somebody else took the port before the test could:", err)
	}
	defer l.Close()
	again := startRedis(t, dir)
	if again.port == r.port {
		t.Fatal("two listen on one port")
	}
	if got := redis(t, again.URL(), "PING"); got != "+PONG" {
		t.Errorf("PING = %q", got)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	lock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("a second Lock: %v, want an error that names the process", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(dir)
	if err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	if err := again.Unlock(); err != nil {
		t.Fatal(err)
	}
}
