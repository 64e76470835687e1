package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// world is what the tests of this binary share: the program, and one hub with all
// roles that nobody stops, with a second edge beside it. Each is made by the first
// test that asks.
var world struct {
	dir     string
	program func() (string, error)
	hub     func() (*hub, error)
	second  func() (*hub, error)
	spans   *collector
	stop    []func() error
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "veze-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	world.dir = dir
	// They wait for the hub more than they work: more of them at once than there
	// are processors.
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	world.spans = newCollector()
	world.program = sync.OnceValues(build)
	world.hub = sync.OnceValues(startShared)
	world.second = sync.OnceValues(startSecond)
	code := m.Run()
	stopChrome()
	for i := len(world.stop) - 1; i >= 0; i-- {
		if err := world.stop[i](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	world.spans.close()
	if code == 0 {
		err = goleak.Find()
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// build makes the program as these tests are made: with the race detector when
// they have it, so that both share what was compiled.
func build() (string, error) {
	path := filepath.Join(world.dir, "vezechat")
	args := append([]string{"build", "-buildvcs=false", "-o", path}, raceFlag...)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", append(args, "vezeuniqverse.com/vezechat/cmd/vezechat")...).CombinedOutput() //nolint:gosec // our own program
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// startShared runs the hub of all tests, and when they have ended reads its log.
func startShared() (*hub, error) {
	h, err := startHub(hubOptions{dir: filepath.Join(world.dir, "hub"), env: []string{
		"LOG_LEVEL=debug", "OTEL_EXPORTER_OTLP_ENDPOINT=" + world.spans.url,
		"OTEL_BSP_SCHEDULE_DELAY=200", "OUTGOING_ALLOW=127.0.0.1",
	}})
	if err != nil {
		return nil, err
	}
	world.stop = append(world.stop, func() error { return errors.Join(h.end(), readLog(h)) })
	return h, nil
}

func startSecond() (*hub, error) {
	h, err := world.hub()
	if err != nil {
		return nil, err
	}
	addr, err := os.ReadFile(filepath.Join(h.data, "nats.url"))
	if err != nil {
		return nil, err
	}
	e, err := startHub(hubOptions{dir: h.dir, args: []string{"--roles", "edge", "--nats-url", string(bytes.TrimSpace(addr))}, env: []string{"LOG_LEVEL=debug"}})
	if err != nil {
		return nil, err
	}
	world.stop = append(world.stop, func() error { return errors.Join(e.end(), readLog(e)) })
	return e, nil
}

// readLog looks for what must not be in the log of a hub that did well.
func readLog(h *hub) error {
	log := h.log.String()
	var errs []error
	for _, bad := range []string{"DATA RACE", "panic", "level=ERROR", "eyJ", secret} {
		if i := bytes.Index([]byte(log), []byte(bad)); i >= 0 {
			errs = append(errs, fmt.Errorf("the hub's log has %q: %.4000s", bad, log[max(0, i-100):]))
		}
	}
	return errors.Join(errs...)
}
