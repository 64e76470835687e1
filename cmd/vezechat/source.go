package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

// source is where settings come from that are not flags: the environment, then,
// in dev, the file .env.
type source struct {
	env  map[string]string
	file map[string]string
}

func environ(pairs []string) map[string]string {
	env := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		env[k] = v
	}
	return env
}

// newSource reads the file unless the process is said to be prod.
func newSource(args []string, env map[string]string, file string) (*source, error) {
	s := &source{env: env}
	if prod(args, env) {
		return s, nil
	}
	m, err := godotenv.Read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s.file = m
	return s, nil
}

// prod reads ahead of the parser: a flag decides whether the file is read at all.
func prod(args []string, env map[string]string) bool {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--env="); ok {
			return v == "prod"
		}
		if a == "--env" && i+1 < len(args) {
			return args[i+1] == "prod"
		}
	}
	return env["ENV"] == "prod"
}

// lookup returns a setting; an empty one is none.
func (s *source) lookup(name string) (string, bool) {
	if v := s.env[name]; v != "" {
		return v, true
	}
	v := s.file[name]
	return v, v != ""
}

// Validate is that of kong.Resolver: what is not ours in the environment is none
// of our business.
func (s *source) Validate(*kong.Application) error { return nil }

// Resolve is that of kong.Resolver: it gives the flags that were not set their
// setting's value.
func (s *source) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Tag == nil || !flag.Tag.Has("setting") {
		return nil, nil
	}
	name := flag.Tag.Get("setting")
	v, ok := s.lookup(name)
	if flag.Tag.Has("secret") {
		var err error
		if v, ok, err = s.secret(name, v, ok); err != nil {
			return nil, err
		}
	}
	if ok {
		return v, nil
	}
	return nil, nil
}

// fileSuffix makes of a secret's setting that of a file with it.
const fileSuffix = "_FILE"

// maxSecretFile bounds a file with a secret, in bytes.
const maxSecretFile = 64 << 10

// secret returns a secret, which may also be in a file: as orchestrators mount them,
// and where neither the environment nor the process list shows it. Errors do not
// repeat it.
func (s *source) secret(name, v string, ok bool) (string, bool, error) {
	file, has := s.lookup(name + fileSuffix)
	switch {
	case !has:
		return v, ok, nil
	case ok:
		return "", false, fmt.Errorf("%s, %s: only one of them", name, name+fileSuffix)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", name+fileSuffix, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	v = strings.TrimRight(string(b), "\r\n")
	switch {
	case err != nil:
		return "", false, fmt.Errorf("%s: %w", name+fileSuffix, err)
	case len(b) > maxSecretFile:
		return "", false, fmt.Errorf("%s: the file has more than %d bytes", name+fileSuffix, maxSecretFile)
	case v == "":
		return "", false, fmt.Errorf("%s: the file is empty", name+fileSuffix)
	}
	return v, true, nil
}

// formatHelp shows which setting of the environment a flag is.
func formatHelp(v *kong.Value) string {
	if v.Tag == nil || !v.Tag.Has("setting") {
		return v.Help
	}
	return v.Help + " (" + v.Tag.Get("setting") + ")"
}
