package chaos

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mutationFlag names what is broken on purpose.
var mutationFlag = flag.String("mutation", "", "names of mutations, separated by commas, or all: the attack must find each")

// edit replaces one piece of a source file by another.
type edit struct {
	file     string // below the module's directory
	old, new string // old is there exactly once
}

// mutation breaks a mechanism that a promise rests on.
type mutation struct {
	name  string
	edits []edit
}

// mutations are defects that the attack must find. Some have a pause in them: a
// process that is killed in the middle of something needs a middle.
func mutations() []mutation {
	one := func(name, file, old, changed string) mutation {
		return mutation{name: name, edits: []edit{{file, old, changed}}}
	}
	return []mutation{
		// Twice the same: the log is not told that two attempts are one.
		one("no-dedup", "internal/bus/acks.go", `if e.ID != "" {`, `if len(e.ID) > 7 && e.ID[:7] == "outbox-" {`),
		// The position is moved, and committed, before what it stands for: ack before
		// commit.
		one("position-first", "storage/postgres/apply.go", `	f := newFolded()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {`, `	last := run[len(run)-1]
	if _, err := s.pool.Exec(ctx, movePosition+" AND seq = $5", vezechat.StreamChat, epoch, last.Seq, last.ID, after); err != nil {
		return err
	}
	after = last.Seq
	time.Sleep(30 * time.Millisecond)
	f := newFolded()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {`).with(edit{"storage/postgres/apply.go", `	"math"
`, `	"math"
	"time"
`}),
		// The loss of a room's last events is revealed by nothing.
		one("no-sweep", "edge/hub/fill.go", `	rooms := h.all()
	first, rest`, `	if h != nil {
		return nil
	}
	rooms := h.all()
	first, rest`),
		// A gap in the feed is not seen.
		one("no-chain-rule", "edge/hub/room.go", `case it.prev <= r.last:`, `case it.prev <= r.last || it.prev > 0:`),
		// Who resumes misses one.
		one("resume-skips-one", "edge/hub/resume.go", `frames, ok := r.ring.after(cur.at)`, `frames, ok := r.ring.after(cur.at + 1)`),
		// Who resumes gets what waits for the members a second time.
		one("resume-repeats", "edge/hub/room.go", `member{c, r.frames()}`, `member{c, r.past}`),
		// A turn hands out nothing when more than two frames have gathered.
		one("turn-skips", "edge/hub/gather.go", `		m.c.push(r, batch)
`, `		if total-from < 3 {
			m.c.push(r, batch)
		}
`),
		// A slow socket loses events in silence.
		one("silent-lag", "edge/hub/queue.go", `		c.lags = append(c.lags, s)
`, ``),
		// Nobody is told to come back.
		one("drain-says-nothing", "edge/hub/drain.go", `		c.Send(wire.Bye("drain", rand.N(max(spread, time.Millisecond))))
`, `		_ = rand.N(max(spread, time.Millisecond))
`),
		// The mirror adds without looking where the position is.
		one("mirror-no-compare", "bridge/redisstream/cursor.go", `if (at[1] or '') ~= ARGV[1] or (at[2] or '0') ~= ARGV[2] then`, `if false then`),
		// The mirror's position is in its memory: Redis is not asked again.
		one("mirror-position-in-memory", "bridge/redisstream/cursor.go", `if (at[1] or '') ~= ARGV[1] or (at[2] or '0') ~= ARGV[2] then`, `if (at[2] or '0') > ARGV[4] then`).
			with(edit{"bridge/redisstream/mirror.go", `	found, err := m.cursor(ctx)
	if err != nil {
		return err
	}
	if found.epoch == pos.epoch`, `	found, err := *pos, error(nil)
	if err != nil {
		return err
	}
	if found.epoch == pos.epoch`}),
		// The mirror writes entries and position in two steps.
		one("mirror-two-steps", "bridge/redisstream/cursor.go", `	args := make([]any, 0, 7+len(entries))
`, `	for _, e := range entries {
		if err := m.cfg.Redis.XAdd(ctx, &redis.XAddArgs{Stream: m.cfg.Stream, Values: []any{"payload", e}}).Err(); err != nil {
			return position{}, &redisError{"add entries", err}
		}
	}
	entries = nil
	args := make([]any, 0, 7+len(entries))
`),
		// An outbox row is gone before the log has its event.
		one("outbox-deleted-before-publish", "storage/postgres/outbox.go", `SELECT id, msg_id, subject, payload, trace, extract(epoch FROM clock_timestamp() - created_at)::float8
FROM outbox WHERE id > $1 ORDER BY id LIMIT $2`, `WITH gone AS (DELETE FROM outbox WHERE id > $1 AND $2 > 0 RETURNING *)
SELECT id, msg_id, subject, payload, trace, extract(epoch FROM clock_timestamp() - created_at)::float8
FROM gone ORDER BY id`),
		// The outbox is published whenever it is looked at, under an id of the moment.
		one("outbox-without-id", "storage/publish.go", `	ack, err := r.Log.Append(actx, e.Entry)`, `	e.Entry.ID += time.Now().Format(".000000")
	ack, err := r.Log.Append(actx, e.Entry)`),
		// What was edited is stored as an event and not done.
		one("edit-not-folded", "storage/postgres/fold.go", `		m.text, m.edited = e.Text, &at`, `		m.edited = &at`),
		// A room is shown to whoever asks.
		one("door-open", "room.go", `	case a.Room.Kind == KindGlobal || a.Room.Public || a.Role != RoleNone:`, `	case a.Room.Kind == KindGlobal || a.Room.Public || a.Role != RoleNone || a.Room.Kind == KindGuild:`),
	}
}

func (m mutation) with(e edit) mutation {
	m.edits = append(m.edits, e)
	return m
}

// The attack finds what is broken. This takes a minute for each mutation, so it
// is run only when asked: go test ./internal/chaos -run TestMutations -v -timeout 60m -args -mutation=all
//
//nolint:paralleltest // one attack at a time
func TestMutations(t *testing.T) {
	if *mutationFlag == "" {
		t.Skip("no -mutation=all, or names")
	}
	for _, m := range mutations() {
		if *mutationFlag != "all" && !slices.Contains(strings.Split(*mutationFlag, ","), m.name) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			cfg := config(t, "", seed())
			cfg.Overlay = overlay(t, cfg.Source, m)
			found, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatalf("the run did not come about, which proves nothing: %v", err)
			}
			if len(found) == 0 {
				t.Fatalf("%s was not found", m.name)
			}
			t.Logf("%s: found by %s", m.name, found[0])
		})
	}
}

// Each mutation still fits the source: one that changes nothing would prove
// nothing.
func TestMutations_Fit(t *testing.T) {
	t.Parallel()
	for _, m := range mutations() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			overlay(t, "../..", m)
		})
	}
}

// overlay writes the changed files beside the source, for go build -overlay.
func overlay(t *testing.T, source string, m mutation) string {
	t.Helper()
	dir := t.TempDir()
	texts := map[string]string{}
	for _, e := range m.edits {
		path := filepath.Join(source, e.file)
		text, ok := texts[path]
		if !ok {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s: %s has %d times:\n%s", m.name, e.file, n, e.old)
		}
		texts[path] = strings.Replace(text, e.old, e.new, 1)
	}
	replace := map[string]string{}
	for path, text := range texts {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
