package natsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// syncer puts on the disk what the server has written, from outside. The server
// can do it by itself, but waits for the disk with the stream's lock held (nats-server
// 2.15.2, fileStore.syncBlocks): beside somebody who writes a lot, all publishers
// then wait for seconds, each second. fsync on a descriptor of our own writes the
// same pages and stands in nobody's way.
type syncer struct {
	dir    string
	log    *slog.Logger
	fsync  func(*os.File) error
	took   prometheus.Histogram // seconds of a pass; nil: not wanted
	failed func(error)          // called once, when the disk has lost what was written

	done map[string]stamp // what each file and directory was when it was synced last
	next map[string]stamp // of the pass that runs; whatever is not in it has gone
	over bool             // the disk has failed

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// stamp tells whether a file was written to: appending changes its size even
// within one tick of the clock that mtime is taken from.
type stamp struct {
	size  int64
	mtime time.Time
}

// errLost says that fsync failed. The system forgets then what it could not write,
// and a second attempt would succeed without it (PostgreSQL's wiki, "Fsync Errors").
var errLost = errors.New("the disk did not take what was written")

// start syncs at each interval until close.
func (s *syncer) start(every time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	s.done, s.stop = map[string]stamp{}, cancel
	if s.fsync == nil {
		s.fsync = (*os.File).Sync
	}
	s.wg.Go(func() {
		tick := time.NewTicker(every) // a pass that takes longer skips ticks
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !s.pass() {
					return
				}
			}
		}
	})
}

// close ends the syncer after one more pass. It may be called more than once.
func (s *syncer) close() {
	s.stop()
	s.wg.Wait()
	s.pass()
}

// pass syncs what has changed since the last one, and reports whether that may go
// on. A directory comes after its files: a name on the disk then never stands for
// less than what was in the file.
func (s *syncer) pass() (ok bool) {
	if s.over {
		return false
	}
	began := time.Now()
	s.next = make(map[string]stamp, len(s.done))
	err := s.tree(s.dir)
	if s.took != nil {
		s.took.Observe(time.Since(began).Seconds())
	}
	s.done = s.next
	if errors.Is(err, errLost) {
		s.over = true
		s.log.Error("the log's files cannot be synced, the log ends", "err", err)
		s.failed(err)
		return false
	}
	if err != nil {
		s.log.Error("the log's files cannot be synced, the next pass tries again", "err", err)
	}
	return true
}

func (s *syncer) tree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return gone(err)
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			errs = append(errs, s.tree(path))
		case e.Type().IsRegular():
			errs = append(errs, s.sync(path))
		}
	}
	return errors.Join(append(errs, s.sync(dir))...)
}

// sync syncs one file or directory, if it has changed. errLost is final; what else
// fails is tried again in the next pass.
func (s *syncer) sync(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return gone(err)
	}
	now := stamp{info.Size(), info.ModTime()}
	if s.done[path] != now {
		f, err := os.Open(path)
		if err != nil {
			return gone(err)
		}
		err, _ = s.fsync(f), f.Close() // only read from
		switch {
		case info.IsDir() && errors.Is(err, syscall.EINVAL): // a file system that needs none
		case err != nil:
			return fmt.Errorf("%w: %s: %w", errLost, path, err)
		}
	}
	s.next[path] = now
	return nil
}

// gone makes nothing of what was removed meanwhile.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
