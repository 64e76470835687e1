package devstack

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// childDir makes this test binary the process that is to be killed: it starts
// both servers there, says so, and waits for its end.
const childDir = "DEVSTACK_TEST_CHILD_DIR"

func runChild(dir string) {
	_, err := Lock(dir)
	if err == nil {
		_, err = StartPostgres(context.Background(), Options{Dir: filepath.Join(dir, "pg"), Volatile: true})
	}
	if err == nil {
		_, err = StartRedis(context.Background(), Options{Dir: filepath.Join(dir, "redis")})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// A parent that is killed leaves servers that end by themselves, or are ended by
// the next start; either way that start works, at once, with the data.
func TestKillOfParent(t *testing.T) {
	t.Parallel()
	_, err := PostgresHome(t.Context(), "")
	need(t, err)
	_, err = RedisServer()
	need(t, err)
	dir := t.TempDir()
	for round := range 3 {
		child := startChild(t, dir)
		if _, err := Lock(dir); err == nil || !strings.Contains(err.Error(), strconv.Itoa(child.Process.Pid)) {
			t.Fatalf("Lock while another process has the directory: %v, want an error that names %d", err, child.Process.Pid)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // killed
		if round == 0 && runtime.GOOS == "linux" {
			awaitEndOfChildren(t, dir)
		}
		lock, err := Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		p, r := startPostgres(t, filepath.Join(dir, "pg")), startRedis(t, filepath.Join(dir, "redis"))
		if round == 0 {
			psql(t, p, "CREATE TABLE kept (n int)")
		}
		psql(t, p, "INSERT INTO kept VALUES (1)")
		if got := psql(t, p, "SELECT count(*) FROM kept"); got != strconv.Itoa(round+1) {
			t.Errorf("round %d: %s rows", round, got)
		}
		if got := redis(t, r.URL(), "INCR kept"); got != ":"+strconv.Itoa(round+1) {
			t.Errorf("round %d: INCR = %s", round, got)
		}
		if err := p.Stop(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if err := r.Stop(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if err := lock.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitEndOfChildren waits until the parent-death signal has done its work; the
// later rounds start while it does.
func awaitEndOfChildren(t *testing.T, dir string) {
	t.Helper()
	err := poll(deadline(t), func() (bool, error) {
		left := append(workersIn(pgName, filepath.Join(dir, "pg", "data")), workersIn(redisName, filepath.Join(dir, "redis"))...)
		return len(left) == 0, nil
	})
	if err != nil {
		t.Errorf("servers live on without their parent: %v", err)
	}
}

func startChild(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = child.Process.Kill()
		t.Fatalf("the child says %q, %v", line, err)
	}
	return child
}

// A leftover that no signal told of its parent's death is found by its working
// directory and ended; here it is a server of this process that is "forgotten".
func TestLeftoverIsEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, r := startPostgres(t, filepath.Join(dir, "pg")), startRedis(t, filepath.Join(dir, "redis"))
	psql(t, p, "CREATE TABLE kept (n int)")
	p2, r2 := startPostgres(t, filepath.Join(dir, "pg")), startRedis(t, filepath.Join(dir, "redis"))
	<-p.Done()
	<-r.Done()
	psql(t, p2, "INSERT INTO kept VALUES (1)")
	if got := redis(t, r2.URL(), "PING"); got != "+PONG" {
		t.Errorf("PING = %q", got)
	}
}
