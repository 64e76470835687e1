package chaos

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAlarmsIn(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	text := "time=1 level=WARN msg=\"panic: no\"\npanic: yes\ntime=1 level=ERROR msg=yes\ntime=1 level=INFO msg=\"level=ERROR\"\nfatal error: yes\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := alarmsIn(log)
	if want := []string{"panic: yes", "time=1 level=ERROR msg=yes", "fatal error: yes"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// What Redis had on disk at a moment can be put back.
func TestStore_RememberAndForget(t *testing.T) {
	t.Parallel()
	s := &store{dir: t.TempDir()}
	file := filepath.Join(s.dir, aofDir, "part.aof")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	for range 2 { // the copy of the last time is in the way of nothing
		if err := s.remember(); err != nil {
			t.Fatal(err)
		}
	}
	write("one two")
	if err := s.forget(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "one" {
		t.Errorf("got %q, %v", b, err)
	}
}
