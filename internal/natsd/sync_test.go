package natsd

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSyncer_SyncsWhatHasChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sub := filepath.Join(dir, "msgs")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	block := filepath.Join(sub, "1.blk")
	write := func(b string) {
		t.Helper()
		if err := os.WriteFile(block, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	s := startSyncer(dir, time.Hour, slog.New(slog.DiscardHandler))
	defer s.close()
	s.pass()
	for _, p := range []string{dir, sub, block} {
		if _, ok := s.done[p]; !ok {
			t.Errorf("%s was not synced", p)
		}
	}
	before := s.done[block]
	write("one and two")
	s.pass()
	if s.done[block] == before {
		t.Error("what was appended was not synced")
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	s.pass()
	if _, ok := s.done[block]; ok {
		t.Error("a file that has gone is still remembered")
	}
}

func TestSyncer_CloseDoesTheRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startSyncer(dir, time.Hour, slog.New(slog.DiscardHandler))
	block := filepath.Join(dir, "1.blk")
	if err := os.WriteFile(block, []byte("late"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.close()
	if _, ok := s.done[block]; !ok {
		t.Error("what was written last was not synced")
	}
	s.close()
}
