package natsd

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// syncer puts on the disk what the server has written, from outside. The server
// can do it by itself, but waits for the disk with the stream's lock held (nats-server
// 2.15.2, fileStore.syncBlocks): beside somebody who writes a lot, all publishers
// then wait for seconds, each second. fsync on a descriptor of our own writes the
// same pages and stands in nobody's way.
type syncer struct {
	dir string
	log *slog.Logger

	done map[string]stamp // what each file and directory was when it was synced last
	next map[string]stamp // of the pass that runs; whatever is not in it has gone

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// stamp tells whether a file was written to: appending changes its size even
// within one tick of the clock that mtime is taken from.
type stamp struct {
	size  int64
	mtime time.Time
}

// startSyncer syncs dir at each interval until close.
func startSyncer(dir string, every time.Duration, log *slog.Logger) *syncer {
	ctx, cancel := context.WithCancel(context.Background())
	s := &syncer{dir: dir, log: log, done: map[string]stamp{}, stop: cancel}
	s.wg.Go(func() {
		tick := time.NewTicker(every) // a pass that takes longer skips ticks
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.pass()
			}
		}
	})
	return s
}

// close ends the syncer after one more pass. It may be called more than once.
func (s *syncer) close() {
	s.stop()
	s.wg.Wait()
	s.pass()
}

// pass syncs what has changed since the last one. A directory comes after its
// files: a name on the disk then never stands for less than what was in the file.
func (s *syncer) pass() {
	s.next = make(map[string]stamp, len(s.done))
	if err := s.tree(s.dir); err != nil {
		s.log.Error("the log's files cannot be synced", "err", err)
	}
	s.done = s.next
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

// sync syncs one file or directory, if it has changed. What fails is tried again
// in the next pass.
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
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
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
