package natsd

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// disk counts what is synced, and fails when it is told to.
type disk struct {
	mu     sync.Mutex
	synced []string
	fails  map[string]error // by base name
	lost   []error          // what failed was told
}

func (d *disk) fsync(f *os.File) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := filepath.Base(f.Name())
	d.synced = append(d.synced, name)
	return d.fails[name]
}

func (d *disk) took() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.synced = nil }()
	return d.synced
}

func startOn(t *testing.T, d *disk) (s *syncer, block string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.MkdirAll(filepath.Join(dir, "msgs"), 0o700); err != nil {
		t.Fatal(err)
	}
	block = filepath.Join(dir, "msgs", "1.blk")
	write(t, block, "one")
	s = &syncer{dir: dir, log: slog.New(slog.DiscardHandler), fsync: d.fsync, failed: func(err error) { d.lost = append(d.lost, err) }}
	s.start(time.Hour)
	t.Cleanup(s.close)
	return s, block
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSyncer_SyncsWhatHasChanged(t *testing.T) {
	t.Parallel()
	var d disk
	s, block := startOn(t, &d)
	for _, step := range []struct {
		name   string
		change func()
		want   []string
	}{
		{"all is new", func() {}, []string{"1.blk", "msgs", "store"}},
		{"nothing has changed", func() {}, nil},
		{"appended to", func() { write(t, block, "one and two") }, []string{"1.blk"}},
		{"a new block", func() { write(t, filepath.Join(filepath.Dir(block), "2.blk"), "x") }, []string{"2.blk", "msgs"}},
		{"a block has gone", func() { _ = os.Remove(block) }, []string{"msgs"}},
	} {
		step.change()
		s.pass()
		if got := d.took(); !slices.Equal(got, step.want) {
			t.Errorf("%s: %q were synced, want %q", step.name, got, step.want)
		}
	}
	if _, ok := s.done[block]; ok {
		t.Error("a file that has gone is still remembered")
	}
}

func TestSyncer_CloseDoesTheRest(t *testing.T) {
	t.Parallel()
	var d disk
	s, _ := startOn(t, &d)
	s.close()
	if got := d.took(); !slices.Contains(got, "1.blk") {
		t.Errorf("what was written last was not synced: %q", got)
	}
	s.close()
}

// Who has the server sync each message needs no syncer beside it.
func TestServer_SyncAlways(t *testing.T) {
	t.Parallel()
	for _, always := range []bool{true, false} {
		o := Options{Dir: t.TempDir(), SyncAlways: always}
		opts, err := o.server()
		if err != nil || opts.SyncAlways != always {
			t.Errorf("always %v: %v, %v", always, opts.SyncAlways, err)
		}
		s, err := Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		s.Shutdown()
		if (s.sync == nil) != always {
			t.Errorf("always %v: a syncer: %v", always, s.sync != nil)
		}
	}
}

// A failed fsync is final: the next one would succeed without what was lost.
func TestSyncer_DiskFails(t *testing.T) {
	t.Parallel()
	d := disk{fails: map[string]error{"1.blk": syscall.EIO}}
	s, block := startOn(t, &d)
	if s.pass() {
		t.Error("it goes on")
	}
	if len(d.lost) != 1 || !errors.Is(d.lost[0], syscall.EIO) {
		t.Fatalf("told %v", d.lost)
	}
	d.took()
	write(t, block, "more")
	if s.pass() || len(d.took()) != 0 || len(d.lost) != 1 {
		t.Errorf("it went on after all: %v", d.lost)
	}
}

// What has to do with names is tried again, and a file system on which a directory
// cannot be synced needs it not.
func TestSyncer_PassesBy(t *testing.T) {
	t.Parallel()
	d := disk{fails: map[string]error{"msgs": &fs.PathError{Op: "sync", Path: "msgs", Err: syscall.EINVAL}}}
	s, _ := startOn(t, &d)
	if !s.pass() || len(d.lost) != 0 {
		t.Errorf("told %v", d.lost)
	}
}

// A server whose disk has failed acknowledges nothing more, and says why.
func TestServer_EndsWithItsDisk(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	s.sync.failed(errLost)
	if err := <-s.Failed(); !errors.Is(err, errLost) {
		t.Errorf("%v", err)
	}
	if s.ns.Running() {
		t.Error("it runs on")
	}
}
