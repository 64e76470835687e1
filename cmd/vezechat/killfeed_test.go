package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/hllog"
	"vezeuniqverse.com/vezechat/internal/natsd"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// logDir is a directory with a log that somebody writes to.
type logDir struct {
	t    *testing.T
	name string
}

func newLogDir(t *testing.T) logDir {
	return logDir{t, filepath.Join(t.TempDir(), "server.log")}
}

// write adds to a file, or with os.O_TRUNC puts a text in its place.
func (d logDir) write(name, text string, flag int) {
	d.t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|flag, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d logDir) rename(to string) {
	d.t.Helper()
	if err := os.Rename(d.name, to); err != nil {
		d.t.Fatal(err)
	}
}

// reader reads the log; notes go to the test's output.
func (d logDir) reader(follow bool, from kept) *logFile {
	d.t.Helper()
	l := &logFile{ctx: d.t.Context(), name: d.name, follow: follow, note: d.t.Logf}
	if err := l.open(from); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(l.close)
	return l
}

func wantLine(t *testing.T, l *logFile, want string) {
	t.Helper()
	if got, err := l.next(); string(got) != want || err != nil {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func wantEnd(t *testing.T, l *logFile) {
	t.Helper()
	if got, err := l.next(); !errors.Is(err, io.EOF) {
		t.Fatalf("read %q, %v; want the end", got, err)
	}
}

// A file is followed as it grows, when it is renamed and another one has its name, and
// when it is cut off in place, even if it is as long as before when somebody looks;
// nothing of it is left out or read twice.
func TestLogFile_Follow(t *testing.T) {
	t.Parallel()
	d := newLogDir(t)
	d.write(d.name, "one\n", 0)
	ctx, stop := context.WithCancel(t.Context())
	l := d.reader(true, mark{}.kept())
	l.ctx = ctx
	wantLine(t, l, "one")
	d.write(d.name, "two\nhalf a ", os.O_APPEND)
	wantLine(t, l, "two")
	d.write(d.name, "line\n", os.O_APPEND)
	wantLine(t, l, "half a line")
	d.rename(d.name + ".1")
	d.write(d.name+".1", "the last of the old one\nwhich was cut", os.O_APPEND)
	d.write(d.name, "the first of the new one\n", 0)
	wantLine(t, l, "the last of the old one")
	wantLine(t, l, "which was cut")
	wantLine(t, l, "the first of the new one")
	d.write(d.name, "short\n", os.O_TRUNC)
	wantLine(t, l, "short")
	for d.stale(l) { // a file system may count in steps
		d.write(d.name, "as long as what was there, and more\nand another\n", os.O_TRUNC)
	}
	wantLine(t, l, "as long as what was there, and more")
	wantLine(t, l, "and another")
	d.write(d.name, "nobody has finished this", os.O_APPEND)
	stop()
	wantEnd(t, l)
}

// stale reports whether the file was last written to when the reader last looked.
func (d logDir) stale(l *logFile) bool {
	d.t.Helper()
	i, err := os.Stat(d.name)
	if err != nil {
		d.t.Fatal(err)
	}
	return i.ModTime().Equal(l.wrote) || i.Size() < 20
}

// Who follows waits for a file that is not there yet; who does not is told.
func TestLogFile_NotThereYet(t *testing.T) {
	t.Parallel()
	d := newLogDir(t)
	if err := (&logFile{ctx: t.Context(), name: d.name, note: t.Logf}).open(mark{}.kept()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("not there: %v", err)
	}
	waits := make(chan struct{})
	l := &logFile{ctx: t.Context(), name: d.name, follow: true, note: func(string, ...any) { close(waits) }}
	opened := make(chan error, 1)
	go func() { opened <- l.open(mark{}.kept()) }()
	<-waits
	d.write(d.name, "one\n", 0)
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	wantLine(t, l, "one")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := (&logFile{ctx: ctx, name: d.name + "not", follow: true, note: t.Logf}).open(mark{}.kept()); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped while it waited: %v", err)
	}
}

func TestLogFile_Lines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 5*hllog.MaxLine)
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"a last line without an end", "one\ntwo", []string{"one", "two"}},
		{"empty ones", "\n\none\n\n", []string{"", "", "one", ""}},
		{"other bytes stay as they are", "\xEF\xBB\xBFone\r\n\xff\xfe\x00\n", []string{"\xEF\xBB\xBFone\r", "\xff\xfe\x00"}},
		{"long ones are cut", "one\n" + long + "\ntwo\n" + long, []string{"one", long[:hllog.MaxLine], "two", long[:hllog.MaxLine]}},
		{"a long one and a short end", long[:hllog.MaxLine+1] + "\ntwo", []string{long[:hllog.MaxLine], "two"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newLogDir(t)
			d.write(d.name, tt.text, 0)
			l := d.reader(false, mark{}.kept())
			stream := &logFile{ctx: t.Context(), in: strings.NewReader(tt.text), note: t.Logf}
			for _, want := range tt.want {
				wantLine(t, l, want)
				wantLine(t, stream, want)
			}
			wantEnd(t, l)
			wantEnd(t, l)
			wantEnd(t, stream)
			if len(l.buf) > 0 || l.mark.at != int64(len(tt.text)) {
				t.Errorf("%d bytes are left, it is at %d of %d", len(l.buf), l.mark.at, len(tt.text))
			}
		})
	}
}

// Who comes back goes on where they left, in the file that was there then and in the one
// that has its name now; when neither is there, at the beginning.
func TestLogFile_Resume(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		rotate func(d logDir)
		want   []string
	}{
		{"the same file", func(d logDir) { d.write(d.name, "three\n", os.O_APPEND) }, []string{"two", "three"}},
		{"renamed", func(d logDir) { d.rename(d.name + ".1"); d.write(d.name, "new\n", 0) }, []string{"two", "new"}},
		{"renamed with a date before the extension", func(d logDir) {
			d.rename(filepath.Join(filepath.Dir(d.name), "server-2026.log"))
			d.write(d.name, "new\n", 0)
		}, []string{"two", "new"}},
		{"cut off in place", func(d logDir) { d.write(d.name, "a\n", os.O_TRUNC) }, []string{"a"}},
		{"another one of its length", func(d logDir) { d.write(d.name, "One\ntwo\n", os.O_TRUNC) }, []string{"One", "two"}},
		{"gone", func(d logDir) {
			d.rename(filepath.Join(filepath.Dir(d.name), "elsewhere"))
			d.write(d.name, "new\n", 0)
		}, []string{"new"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newLogDir(t)
			d.write(d.name, "one\ntwo\n", 0)
			l := d.reader(false, mark{}.kept())
			wantLine(t, l, "one")
			tt.rotate(d)
			again := d.reader(false, l.mark.kept())
			for _, want := range tt.want {
				wantLine(t, again, want)
			}
			wantEnd(t, again)
		})
	}
}

// kill is a line of a log, and what it is published as.
func kill(i int) string {
	return fmt.Sprintf("L 08/05/2013 - 20:50:50: \"Ann<2><S><CT>\" killed \"Bob<3><S><T>\" with \"w%d\"\r\n", i)
}

// feedWorld is a NATS server with a game, and a log.
type feedWorld struct {
	logDir
	s      *natsd.Server
	url    string
	stream jetstream.Stream
}

func newFeedWorld(t *testing.T) *feedWorld {
	t.Helper()
	s := natstest.Server(t)
	b := natstest.Bus(t, s)
	st, err := b.JetStream().Stream(t.Context(), vezechat.StreamGame)
	if err != nil {
		t.Fatal(err)
	}
	return &feedWorld{newLogDir(t), s, s.ClientURL(), st}
}

// feed runs the command to its end.
func (w *feedWorld) feed(args ...string) (status int, out, errs string) {
	w.t.Helper()
	var o, e strings.Builder
	args = append([]string{"killfeed", "--game", "cs", "--match", "m1", "--nats-url", w.url, w.name}, args...)
	status = run(w.t.Context(), args, nil, strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

// weapons are those of the lines that the stream has, in its order, and whether they may
// be repetitions: the first of a run that goes on may.
func (w *feedWorld) weapons() (list []string) {
	w.t.Helper()
	info, err := w.stream.Info(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := w.stream.GetMsg(w.t.Context(), seq)
		if err != nil {
			w.t.Fatal(err)
		}
		var e vezechat.GameEvent
		if err := json.Unmarshal(m.Data, &e); err != nil {
			w.t.Fatal(err)
		}
		if m.Header.Get(vezechat.HeaderGameRepeated) != "" {
			e.Weapon += " repeated"
		}
		list = append(list, e.Weapon)
	}
	return list
}

// A run that was ended goes on where it was: what was published is not published again,
// also when it could not keep how far it was.
func TestKillfeed_Resume(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t)
	at := filepath.Join(t.TempDir(), "at")
	w.write(w.name, kill(0)+kill(1)+strings.TrimSuffix(kill(2), "\"\r\n"), 0)
	if status, out, errs := w.feed("--resume", at); status != 0 || !strings.HasPrefix(out, "2 lines read, 2 published") {
		t.Fatalf("first: %d %q %q", status, out, errs)
	}
	before, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	w.write(w.name, "\"\r\n", os.O_APPEND) // the rest of a line
	if status, out, errs := w.feed("--resume", at); status != 0 || !strings.HasPrefix(out, "1 lines read, 1 published") {
		t.Fatalf("second: %d %q %q", status, out, errs)
	}
	if err := os.WriteFile(at, before, 0o600); err != nil { // it was killed before it kept that
		t.Fatal(err)
	}
	w.rename(w.name + ".1")
	blank := "L 08/05/2013 - 20:50:50: \"Ann<2><S><CT>\" say \" \"\n"
	w.write(w.name, kill(3)+"nothing of interest\n"+blank+strings.TrimSuffix(kill(4), "\"\r\n"), 0)
	if status, out, errs := w.feed("--resume", at, "--close"); status != 0 || !strings.HasPrefix(out, "5 lines read, 3 published") || !strings.Contains(out, "\n1 said nothing") {
		t.Fatalf("third: %d %q %q", status, out, errs)
	}
	if got := w.weapons(); !slices.Equal(got, []string{"w0", "w1", "w2 repeated", "w3", ""}) { // match.closed has none
		t.Errorf("published: %q", got)
	}
}

func TestKillfeed_Refuses(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t)
	w.write(w.name, kill(0), 0)
	dir := t.TempDir()
	broken, other := filepath.Join(dir, "broken"), filepath.Join(dir, "other")
	w.write(broken, "{}", 0)
	w.write(other, `{"subject":"veze.game.tf.m1","run":"r","next":1}`, 0)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no match", []string{"--match", "a.b"}, "not the name of a game or a match"},
		{"what is not kept", []string{"--resume", broken}, "is not what --resume keeps"},
		{"what another match keeps", []string{"--resume", other}, "is of veze.game.tf.m1"},
		{"two names", []string{"--resume", filepath.Join(dir, "at"), "--run", "r"}, "keeps the run's name itself"},
		{"nobody there", []string{"--nats-url", "nats://127.0.0.1:1"}, "NATS:"},
	} {
		if status, out, errs := w.feed(tt.args...); status != 1 || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: %d %q %q, want %q", tt.name, status, out, errs, tt.want)
		}
	}
}

// A user who may not say what they try is told so; one may of the own game.
func TestKillfeed_Permissions(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t)
	o := natsd.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Games: map[string]string{"tf": "two"}, GameSubjects: vezechat.GameSubjects}
	s, err := natsd.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	w.url = strings.Replace(s.ClientURL(), "nats://", "nats://tf:two@", 1)
	w.write(w.name, kill(0), 0)
	if status, out, errs := w.feed(); status != 1 || !strings.Contains(errs, "this user may not publish to veze.game.cs.m1") {
		t.Errorf("%d %q %q", status, out, errs)
	}
	w.url = strings.Replace(w.url, "two", "one", 1)
	if status, out, errs := w.feed(); status != 1 || !strings.Contains(errs, "uthorization") || strings.Contains(errs, "one@") {
		t.Errorf("a wrong password: %d %q %q", status, out, errs)
	}
}

// While the hub is away nothing more is read, and then it goes on: each line once, in
// order.
func TestKillfeed_HubAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := natsd.Start(t.Context(), natsd.Options{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(s.ClientURL(), "nats://")
	natstest.Bus(t, s)
	c := &killfeedCmd{}
	c.NatsURL = "nats://" + addr
	notes := make(chan string, 64)
	p, err := c.connect("veze.game.cs.m1", progress{Subject: "veze.game.cs.m1", Run: "r"}, func(f string, args ...any) { notes <- fmt.Sprintf(f, args...) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	d := newLogDir(t)
	d.write(d.name, kill(0)+kill(1)+kill(2), 0)
	l := d.reader(false, mark{}.kept())
	step := func() error {
		line, err := l.next()
		if err != nil {
			return err
		}
		e, ok := hllog.Parse(line)
		if !ok {
			return errors.New("no line of a killfeed")
		}
		return p.publish(t.Context(), e, l.mark.kept())
	}
	if err := step(); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	done := make(chan error, 1)
	go func() { done <- errors.Join(step(), step()) }()
	if n := <-notes; !strings.HasPrefix(n, "waiting for the hub") {
		t.Fatalf("it says %q", n)
	}
	if s, err = natsd.Start(t.Context(), natsd.Options{Dir: dir, Listen: addr}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not go on")
	}
	if n := <-notes; n != "the hub answers again" {
		t.Errorf("then it says %q", n)
	}
	st, err := natstest.Bus(t, s).JetStream().Stream(t.Context(), vezechat.StreamGame)
	if err != nil {
		t.Fatal(err)
	}
	if got := (&feedWorld{logDir: d, stream: st}).weapons(); !slices.Equal(got, []string{"w0", "w1", "w2"}) {
		t.Errorf("published: %q", got)
	}
}
