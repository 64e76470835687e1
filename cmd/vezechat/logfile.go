package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat/internal/hllog"
)

const (
	followEvery = 200 * time.Millisecond
	markBytes   = 1 << 10  // before a place in a file, by which it is known again
	readBytes   = 16 << 10 // at a time
)

// logFile hands out the lines of a log and knows where it is. It goes on with another
// file when its name is that one's (a rotation by rename), and at the beginning when the
// file was cut off in place (by copy and truncation). While it waits at the end it looks
// five times a second: of what is rotated twice in between it misses one, as tail -F
// does.
type logFile struct {
	ctx    context.Context
	name   string // empty: a stream, which is never rotated
	follow bool
	keep   bool // a last line without an end is left for the next time
	note   func(format string, args ...any)

	file  *os.File  // nil: a stream
	in    io.Reader // it
	mark  mark
	buf   []byte    // read and not handed out: it follows the mark
	skip  bool      // what is left of a line that was too long
	atEnd bool      // there was no more
	wrote time.Time // when somebody wrote to the file, as of the last look
	then  *os.File  // what a rotation goes on with; nil: the same file, from its beginning
}

// mark is a place in a file, and what comes before it.
type mark struct {
	at     int64
	before []byte
}

// pass moves over what follows.
func (m *mark) pass(b []byte) {
	m.at += int64(len(b))
	m.before = append(m.before, b...)
	if over := len(m.before) - markBytes; over > 0 {
		m.before = append(m.before[:0], m.before[over:]...)
	}
}

// in reports whether a file has what comes before the mark.
func (m *mark) in(f io.ReaderAt) bool {
	have := make([]byte, len(m.before))
	_, err := f.ReadAt(have, m.at-int64(len(have)))
	return (err == nil || errors.Is(err, io.EOF)) && bytes.Equal(have, m.before)
}

// kept is a mark as it is kept in a file, without a line of the log.
type kept struct {
	Offset int64  `json:"offset"`
	Bytes  int    `json:"bytes"`  // before it
	SHA256 string `json:"sha256"` // of them
}

func (m mark) kept() kept { return kept{m.at, len(m.before), digest(m.before)} }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// find returns the mark that was kept, if a file has it.
func (k kept) find(f io.ReaderAt) (m mark, ok bool) {
	if k.Bytes < 0 || k.Bytes > markBytes || k.Offset < int64(k.Bytes) {
		return m, false
	}
	m = mark{k.Offset, make([]byte, k.Bytes)}
	_, err := f.ReadAt(m.before, k.Offset-int64(k.Bytes))
	return m, (err == nil || errors.Is(err, io.EOF)) && digest(m.before) == k.SHA256
}

// open opens the log at the place that was kept, in the file that has it now: that of
// the name, or one beside it that it was renamed to. Who follows waits for the file.
func (l *logFile) open(from kept) error {
	for told := false; ; told = true {
		err := l.find(from)
		if !l.follow || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !told {
			l.note("waiting for %s", l.name)
		}
		if !l.rest() {
			return l.ctx.Err()
		}
	}
}

func (l *logFile) find(from kept) error {
	f, err := os.Open(l.name)
	if err != nil {
		return err
	}
	if m, ok := from.find(f); ok {
		return l.begin(f, m)
	}
	for _, name := range l.beside() {
		old, err := os.Open(name)
		if err != nil {
			continue // gone, or not for us
		}
		if m, ok := from.find(old); ok {
			l.note("going on in %s, which it was renamed to", name)
			_ = f.Close()
			return l.begin(old, m)
		}
		_ = old.Close()
	}
	l.note("%s is another file than the one that was read, which is not beside it: reading it from its beginning", l.name)
	return l.begin(f, mark{})
}

// beside lists what the log may have been renamed to.
func (l *logFile) beside() (names []string) {
	dir, base := filepath.Dir(l.name), filepath.Base(l.name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != base && strings.HasPrefix(e.Name(), stem) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

func (l *logFile) begin(f *os.File, m mark) error {
	if _, err := f.Seek(m.at, io.SeekStart); err != nil {
		return err
	}
	if l.file != nil && l.file != f {
		_ = l.file.Close()
	}
	l.file, l.in, l.mark, l.buf, l.skip, l.atEnd, l.then, l.wrote = f, f, m, nil, false, false, nil, time.Time{}
	return nil
}

func (l *logFile) close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

// next returns the next line without its end, and of a long one hllog.MaxLine bytes. It
// is good until the next call. io.EOF: there is no more, or who follows is to stop.
func (l *logFile) next() ([]byte, error) {
	for {
		if line, ok := l.cut(); ok {
			return line, nil
		}
		end, err := l.fill()
		switch {
		case err != nil:
			return nil, err
		case end == going:
			continue
		case end == left || end == finished && l.keep:
			return nil, io.EOF
		}
		line, whole := l.buf, len(l.buf) > 0 && !l.skip // it was cut off, or had no end
		l.mark.pass(l.buf)
		l.buf, l.skip = nil, false
		if end == rotated {
			if err := l.begin(cmp.Or(l.then, l.file), mark{}); err != nil {
				return nil, err
			}
		}
		switch {
		case whole:
			return line, nil
		case end == finished:
			return nil, io.EOF
		}
	}
}

// cut takes a line from what was read.
func (l *logFile) cut() ([]byte, bool) {
	for {
		line, all := bytes.IndexByte(l.buf, '\n'), 0
		switch {
		case line >= 0:
			all = line + 1
		case len(l.buf) > hllog.MaxLine:
			line, all = hllog.MaxLine, len(l.buf)
		default:
			return nil, false
		}
		out, rest := l.buf[:min(line, hllog.MaxLine)], l.skip
		l.skip = all == len(l.buf) && l.buf[all-1] != '\n'
		l.mark.pass(l.buf[:all])
		if l.buf = l.buf[all:]; !rest {
			return out, true
		}
	}
}

// ending says how it goes on after what was read.
type ending int

const (
	going    ending = iota
	rotated         // with another file, or the same from its beginning
	finished        // it does not
	left            // nobody wants it to
)

// fill reads on. It looks for a rotation first, at the end at least, and who follows
// rests there.
func (l *logFile) fill() (ending, error) {
	if l.atEnd || l.follow {
		if turned, err := l.turn(); turned || err != nil {
			return rotated, err
		}
	}
	chunk := make([]byte, readBytes)
	n, err := l.in.Read(chunk)
	l.buf = append(l.buf, chunk[:n]...)
	switch {
	case n > 0:
		l.atEnd = false
		return going, nil
	case err != nil && !errors.Is(err, io.EOF):
		return going, err
	case !l.atEnd:
		l.atEnd = true
		return going, nil
	case !l.follow:
		return finished, nil
	case !l.rest():
		return left, nil
	}
	return going, nil
}

// rest waits a moment, unless all is over.
func (l *logFile) rest() bool {
	select {
	case <-l.ctx.Done():
		return false
	case <-time.After(followEvery):
		return true
	}
}

// turn reports whether the file at hand was rotated and read to its end.
func (l *logFile) turn() (bool, error) {
	if l.file == nil {
		return false, nil
	}
	now, err := os.Stat(l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // between two files
	}
	if err != nil {
		return false, err
	}
	had, err := l.file.Stat()
	if err != nil {
		return false, err
	}
	if os.SameFile(now, had) {
		return l.cutOff(had), nil
	}
	if had.Size() > l.mark.at+int64(len(l.buf)) {
		return false, nil // there is more in the old one
	}
	l.then, err = os.Open(l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// cutOff reports whether the file does not have any more what was read of it: it is
// shorter, or it is another one of at least that length.
func (l *logFile) cutOff(now fs.FileInfo) bool {
	if now.Size() < l.mark.at+int64(len(l.buf)) {
		return true
	}
	if now.ModTime().Equal(l.wrote) {
		return false
	}
	l.wrote = now.ModTime()
	return !l.mark.in(l.file)
}
