package templates

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"
)

//go:embed static/*
var staticFiles embed.FS

// Static holds the files that pages refer to, each under two names: veze.js, as it
// was written, for others to build on, and veze.3f9a….js, without its comments,
// which changes with the content and may be cached for ever. It is an fs.FS without directories, safe for concurrent
// use.
type Static struct {
	files map[string][]byte
	names map[string]string // plain name to the one with the hash
}

// staticOrder has the files, those that others import first: their names with hashes are
// written into the importers before these are hashed themselves.
var staticOrder = [...]string{"veze.css", "desk.css", "icon.svg", "times.js", "markdown.js", "veze.js", "ui.js", "message.js", "composer.js", "room.js", "rooms.js", "desk.js", "inbox.js", "ticket.js", "request.js", "tile.css", "tile.js", "tile.html"}

func newStatic() (*Static, error) {
	s := &Static{files: map[string][]byte{}, names: map[string]string{}}
	for _, name := range staticOrder {
		b, err := staticFiles.ReadFile("static/" + name)
		if err != nil {
			return nil, fmt.Errorf("read static file: %w", err)
		}
		s.files[name] = b
		if path.Ext(name) == ".js" {
			b = slim(b)
		}
		for plain, hashed := range s.names {
			b = bytes.ReplaceAll(b, []byte(`"./`+plain+`"`), []byte(`"./`+hashed+`"`))
		}
		sum := sha256.Sum256(b)
		ext := path.Ext(name)
		hashed := strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
		s.files[hashed], s.names[name] = b, hashed
	}
	return s, nil
}

// remark is a comment, alone on its line or at its end; one with a quote in it may
// be part of a string and stays.
var remark = regexp.MustCompile("( /\\* [^\"'`*/]* \\*/)|(^| )// ?[^\"'`]*$")

// slim leaves out what only readers of a script need: indentation, blank lines and
// comments. The scripts keep each template literal on one line.
func slim(src []byte) []byte {
	var out []byte
	for line := range bytes.Lines(src) {
		line = bytes.TrimSpace(line)
		if bytes.HasPrefix(line, []byte("//")) {
			continue
		}
		if line = remark.ReplaceAll(line, nil); len(line) > 0 {
			out = append(append(out, line...), '\n')
		}
	}
	return out
}

// Asset returns the name with the hash of a file; an unknown name comes back as
// it is.
func (s *Static) Asset(name string) string {
	if h, ok := s.names[name]; ok {
		return h
	}
	return name
}

// Immutable reports whether a name's content never changes, so that it may be
// cached for ever.
func (s *Static) Immutable(name string) bool {
	_, plain := s.names[name]
	_, known := s.files[name]
	return known && !plain
}

// Open returns a file by either of its names (fs.FS).
func (s *Static) Open(name string) (fs.File, error) {
	b, err := s.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &staticFile{Reader: bytes.NewReader(b), name: name, size: int64(len(b))}, nil
}

// ReadFile returns a file's content, which must not be changed (fs.ReadFileFS).
func (s *Static) ReadFile(name string) ([]byte, error) {
	b, ok := s.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return b, nil
}

// staticFile is an open file and its own fs.FileInfo.
type staticFile struct {
	*bytes.Reader
	name string
	size int64
}

var _ io.Seeker = (*staticFile)(nil) // what http.FS asks for

func (f *staticFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *staticFile) Close() error               { return nil }
func (f *staticFile) Name() string               { return f.name }
func (f *staticFile) Size() int64                { return f.size }
func (f *staticFile) Mode() fs.FileMode          { return 0o444 }
func (f *staticFile) ModTime() time.Time         { return time.Time{} }
func (f *staticFile) IsDir() bool                { return false }
func (f *staticFile) Sys() any                   { return nil }
