package main

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A file is followed as it grows, when it is renamed and another one has its name, and
// when it is cut off in place; nothing of it is left out or read twice.
func TestFollower(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "server.log")
	write := func(text string, flag int) {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|flag, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("one\n", 0)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	fol := &follower{ctx: ctx, name: name, file: f}
	t.Cleanup(fol.close)
	lines := bufio.NewScanner(fol)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("read %q, want %q (%v)", lines.Text(), want, lines.Err())
		}
	}
	next("one")
	write("two\n", os.O_APPEND)
	next("two")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	old, err := os.OpenFile(name+".1", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.WriteString("the last of the old one\n"); err != nil {
		t.Fatal(err)
	}
	_ = old.Close()
	write("the first of the new one\n", 0)
	next("the last of the old one")
	next("the first of the new one")
	write("cut\n", os.O_TRUNC)
	next("cut")
	stop()
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("at the end: %q, %v", lines.Text(), lines.Err())
	}
}
