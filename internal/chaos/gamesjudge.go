package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// settle waits until everything that was written is published and on the screen, then
// closes the matches and waits until their rooms are archived.
func (g *gamesRun) settle(ctx context.Context) error {
	began := time.Now()
	err := until(ctx, gamesSettle, 100*time.Millisecond, func(context.Context) error {
		for _, f := range g.feeds {
			f.mu.Lock()
			got := len(f.lines)
			f.mu.Unlock()
			if got < len(f.match.Want) {
				return fmt.Errorf("%s: %d of %d lines are on the screen", f.match.Name, got, len(f.match.Want))
			}
		}
		return nil
	})
	g.story.tell("all lines were on the screens %s after the last was written", time.Since(began).Round(10*time.Millisecond))
	if err != nil {
		return err
	}
	for _, f := range g.feeds {
		if err := g.says(ctx, f.match, "closed", vezechat.GameEvent{Type: vezechat.GameMatchClosed}); err != nil {
			return err
		}
	}
	err = until(ctx, gamesSettle, 100*time.Millisecond, func(ctx context.Context) error {
		archived, err := g.rooms(ctx, "?archived=true")
		for _, f := range g.feeds {
			if err == nil && archived[f.match.Game+"/"+f.match.Name] != f.room {
				err = fmt.Errorf("the room of %s is not archived", f.match.Name)
			}
		}
		if err != nil {
			return err
		}
		_, err = g.world.heads(ctx)
		return err
	})
	pause(ctx, time.Second) // what is written twice, or late, would be written now
	return err
}

const selectLines = `
SELECT text FROM messages WHERE room_id = $1 ORDER BY message_id`

// judge compares what screens, PostgreSQL and Redis have with what each match must have.
func (g *gamesRun) judge(ctx context.Context) error {
	e := &evidence{}
	if err := errors.Join(g.world.readRedis(ctx, e), g.world.readLetters(ctx, e)); err != nil {
		return err
	}
	mirrored := map[int64][]string{}
	for _, x := range e.redis {
		var ev struct {
			Type string `json:"type"`
			Room int64  `json:"room_id"`
			Text string `json:"text"`
		}
		if json.Unmarshal([]byte(x.payload), &ev) == nil && ev.Type == string(vezechat.EventMessageCreated) {
			mirrored[ev.Room] = append(mirrored[ev.Room], ev.Text)
		}
	}
	total := 0
	for _, f := range g.feeds {
		var stored []string
		err := g.world.withPostgres(ctx, func(conn *pgx.Conn) (err error) {
			rows, err := conn.Query(ctx, selectLines, f.room)
			if err == nil {
				stored, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			return err
		})
		if err != nil {
			return err
		}
		g.compare(f, "the screen", f.lines)
		g.compare(f, "PostgreSQL", stored)
		g.compare(f, "the Redis stream", mirrored[f.room])
		total += len(f.match.Want)
		fmt.Fprintf(g.cfg.Out, "%-32s %5d lines: screen %d, PostgreSQL %d, Redis %d; log rotated %d times\n", f.match.Game+"/"+f.match.Name, len(f.match.Want), len(f.lines), len(stored), len(mirrored[f.room]), f.rotated)
	}
	for _, l := range e.letters {
		g.find(promiseKept, "a dead letter: %s", l)
	}
	for _, kind := range []string{"nats", "bridge", "edge", "killfeed"} {
		if g.kills[kind] == 0 {
			g.find(promiseRun, "no %s was killed: it proves nothing", kind)
		}
	}
	if total == 0 {
		g.find(promiseRun, "there was no line to compare: it proves nothing")
	}
	fmt.Fprintf(g.cfg.Out, "killed with -9: NATS %d, bridges %d, edges %d, killfeed %d times; %d sockets of the watcher ended\n",
		g.kills["nats"], g.kills["bridge"], g.kills["edge"], g.kills["killfeed"], g.notes.counted("sockets of the watcher that ended"))
	g.findings = append(append(g.findings, g.notes.findings()...), g.world.alarms()...)
	return nil
}

// compare finds the first place where lines differ from those wanted.
func (g *gamesRun) compare(f *feed, where string, got []string) {
	want := f.match.Want
	for i := range max(len(got), len(want)) {
		a, b := "nothing", "nothing"
		if i < len(got) {
			a = strconv.Quote(got[i])
		}
		if i < len(want) {
			b = strconv.Quote(want[i])
		}
		if a != b {
			promise := promiseKept
			switch {
			case len(got) > len(want):
				promise = promiseOnce
			case len(got) == len(want):
				promise = promiseOrder
			}
			g.find(promise, "%s/%s: line %d of %s is %s, must be %s (%d lines, must be %d)", f.match.Game, f.match.Name, i+1, where, a, b, len(got), len(want))
			return
		}
	}
}
