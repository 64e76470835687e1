package devstack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Locked is a directory that this process holds.
type Locked struct{ file *os.File }

// Lock takes a directory, made when missing, for this process alone (flock(2) on
// the file "lock" in it). It does not wait: while another process, or another
// Lock of this one, holds the directory, the error names that process. The lock
// ends with Unlock or with the process, however that ends; the file stays.
func Lock(dir string) (*Locked, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(heldError(dir, path, err), f.Close())
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Locked{file: f}, nil
}

// Unlock gives the directory back. It does so by name: a child that is just being
// started has the file open until it runs its program, and would hold the lock
// beyond Close.
func (l *Locked) Unlock() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}

func heldError(dir, path string, err error) error {
	switch pid := readPID(path); {
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("locking %s: %w", path, err)
	case pid == 0:
		return fmt.Errorf("%s is in use by another process", dir)
	default:
		return fmt.Errorf("%s is in use by process %d: stop it, or use another directory", dir, pid)
	}
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	return err
}
