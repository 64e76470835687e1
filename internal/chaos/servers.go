package chaos

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"vezeuniqverse.com/vezechat/internal/devstack"
)

// devServer is what devstack's servers have in common.
type devServer interface {
	Kill()
	Stop(ctx context.Context) error
	Done() <-chan struct{}
}

// store is a PostgreSQL or Redis that can be killed and started again in place.
type store struct {
	dir  string
	open func(ctx context.Context, dir string) (devServer, error)

	mu  sync.Mutex // guards now; held while it is started or ended
	now devServer  // nil: down
}

func (s *store) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		return nil
	}
	var err error
	s.now, err = s.open(ctx, s.dir)
	if err != nil {
		s.now = nil
	}
	return err
}

func (s *store) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		s.now.Kill()
		s.now = nil
	}
}

func (s *store) stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		return nil
	}
	err := s.now.Stop(ctx)
	s.now = nil
	return err
}

// newPostgres returns a stopped PostgreSQL and its URL once it was started.
func newPostgres(dir string, url *string) *store {
	return &store{dir: dir, open: func(ctx context.Context, dir string) (devServer, error) {
		p, err := devstack.StartPostgres(ctx, devstack.Options{Dir: dir})
		if err != nil {
			return nil, err
		}
		*url = p.URL("vezechat")
		return p, nil
	}}
}

// newRedis returns a stopped Redis that will use a port, and its URL once it was
// started.
func newRedis(dir string, port int, url *string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// devstack takes the port of the last time.
	if err := os.WriteFile(filepath.Join(dir, "port"), strconv.AppendInt(nil, int64(port), 10), 0o600); err != nil {
		return nil, err
	}
	return &store{dir: dir, open: func(ctx context.Context, dir string) (devServer, error) {
		r, err := devstack.StartRedis(ctx, devstack.Options{Dir: dir})
		if err != nil {
			return nil, err
		}
		if *url != "" && *url != r.URL() {
			return nil, errors.Join(errors.New("redis came back at another address"), r.Stop(ctx))
		}
		*url = r.URL()
		return r, nil
	}}, nil
}

// aofDir is where Redis keeps its append-only file.
const aofDir = "appendonlydir"

// remember copies what Redis has on disk now. The copy of a file that is being
// appended to is one that ends early, which is what a power failure leaves.
func (s *store) remember() error {
	to := filepath.Join(s.dir, "before")
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return copyDir(filepath.Join(s.dir, aofDir), to)
}

// forget puts the copy back in place of what came after it. The server must be
// down.
func (s *store) forget() error {
	if err := os.RemoveAll(filepath.Join(s.dir, aofDir)); err != nil {
		return err
	}
	return os.Rename(filepath.Join(s.dir, "before"), filepath.Join(s.dir, aofDir))
}

func copyDir(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
