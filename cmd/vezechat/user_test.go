package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/devstack"
)

// wholeHub is a hub of all roles in a process of its own, with its private servers.
type wholeHub struct {
	hubFile
	t   *testing.T
	dir string
	url string
	db  *pgx.Conn
}

func startWholeHub(t *testing.T) *wholeHub {
	t.Helper()
	if _, err := devstack.PostgresHome(t.Context(), ""); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no PostgreSQL on this machine: ", err)
	}
	dir, _ := hubIn(t)
	w := &wholeHub{t: t, dir: dir}
	w.url = startProcess(t, "serve", "--port=0", "--data-dir="+dir, "--nats-listen=127.0.0.1:0").await()
	w.hubFile = readHub(t, dir)
	var err error
	if w.db, err = pgx.Connect(t.Context(), w.DatabaseURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close(context.Background()) })
	return w
}

// command is the program in a process of its own, with another command than serve.
func (w *wholeHub) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	c, out := exec.CommandContext(w.t.Context(), os.Args[0]), &bytes.Buffer{}
	c.Env = append(os.Environ(), childEnv+"="+strings.Join(append(args, "--data-dir="+w.dir), "\n"))
	c.Stdout, c.Stderr = out, out
	return c, out
}

func (w *wholeHub) run(args ...string) (out string, ok bool) {
	w.t.Helper()
	c, b := w.command(args...)
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return b.String(), err == nil
}

// person is somebody who may write, by a token.
type person struct {
	w     *wholeHub
	token string
	ID    int64
}

func (w *wholeHub) person(handle string) person {
	w.t.Helper()
	out, ok := w.run("token", "--handle="+handle, "--scope=chat.read chat.write")
	if !ok {
		w.t.Fatal(out)
	}
	p := person{w: w, token: strings.TrimSpace(out)}
	var me struct{ User struct{ ID int64 } }
	p.ask("GET", "/auth/me", "", &me)
	p.ID = me.User.ID
	return p
}

// ask makes a request that is answered with 2xx, and returns its id.
func (p person) ask(method, path, body string, into any) {
	t := p.w.t
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		t.Fatalf("%s %s: %s %s, %v", method, path, resp.Status, b, err)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
}

func (p person) post(path, body string) (id int64) {
	p.w.t.Helper()
	var made struct {
		ID   int64
		Room int64 `json:"room_id"`
	}
	p.ask("POST", path, body, &made)
	return max(made.ID, made.Room)
}

func (w *wholeHub) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.db.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *wholeHub) count(sql string, args ...any) (n int) {
	w.t.Helper()
	if err := w.db.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (w *wholeHub) until(what string, fn func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !fn(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// gate is where a command waits in PostgreSQL: it locks the advisory lock 4711 there.
const gate = `CREATE OR REPLACE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$`

// killAt runs a command until it comes to a row that a trigger stops it at, and kills it
// there: what it was about to write is not written.
func (w *wholeHub) killAt(table, when string, args ...string) {
	w.t.Helper()
	w.exec(gate)
	w.exec(`CREATE TRIGGER gate BEFORE UPDATE ON ` + table + ` FOR EACH ROW WHEN (` + when + `) EXECUTE FUNCTION gate()`)
	w.exec(`SELECT pg_advisory_lock(4711)`)
	c, _ := w.command(args...)
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	const waits = `SELECT coalesce(max(pid), 0) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted`
	w.until("it comes to "+when, func() bool { return w.count(waits) > 0 })
	pid := w.count(waits)
	if err := c.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = c.Wait() // it was killed
	w.exec(`SELECT pg_terminate_backend($1)`, pid)
	w.until("its connection ends", func() bool { return w.count(`SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, pid) == 0 })
	w.exec(`DROP TRIGGER gate ON ` + table)
	w.exec(`SELECT pg_advisory_unlock(4711)`)
}

// tables is all text of all tables.
func (w *wholeHub) tables() string {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'`)
	if err != nil {
		w.t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 40 {
		w.t.Fatalf("%d tables, %v", len(names), err)
	}
	var all []string
	texts := func(sql string) {
		rows, err := w.db.Query(w.t.Context(), sql)
		if err != nil {
			w.t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, list...)
	}
	for _, name := range names {
		texts(`SELECT t::text FROM ` + name + ` t`)
	}
	texts(`SELECT convert_from(payload, 'UTF8') FROM events UNION ALL SELECT convert_from(payload, 'UTF8') FROM desk_events UNION ALL SELECT convert_from(payload, 'UTF8') FROM outbox`)
	return strings.Join(all, "\n")
}

// log is all that the log has up to a text.
func (w *wholeHub) log(last string) string {
	w.t.Helper()
	b, err := bus.Connect(w.t.Context(), bus.Config{URL: w.NatsURL, Name: "test", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		w.t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	var all strings.Builder
	done := errors.New("done")
	err = b.Read(ctx, 0, 100, func(recs []vezechat.Record) error {
		for _, r := range recs {
			all.Write(r.Payload)
			if strings.Contains(string(r.Payload), last) {
				return done
			}
		}
		return nil
	})
	if !errors.Is(err, done) {
		w.t.Fatal(err)
	}
	return all.String()
}

func (w *wholeHub) stream() string {
	w.t.Helper()
	all, err := dialRedis(w.t, w.hubFile).XRange(w.t.Context(), "veze.chat", "-", "+").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(all)
}

// Whoever kills the command between two of its steps, or in the middle of one, runs it
// again, by number: in the end nothing of the user is in PostgreSQL, the log and Redis,
// what others have said is, and what is told of it was told once.
func TestUserErase_KilledBetweenItsSteps(t *testing.T) {
	t.Parallel()
	const private = "my address is Elm Street 9"
	w := startWholeHub(t)
	pilot, bob := w.person("pilot"), w.person("bob")
	room := pilot.post("/rooms", fmt.Sprintf(`{"name":"Guild","kind":"guild","members":[%d]}`, bob.ID))
	at := fmt.Sprintf("/rooms/%d", room)
	pilot.ask("PUT", fmt.Sprintf("%s/members/%d", at, bob.ID), `{"role":"owner"}`, nil)
	first := pilot.post(at+"/messages", `{"text":"`+private+`"}`)
	pilot.ask("GET", fmt.Sprintf("%s/messages?min=%d", at, first), "", nil)
	pilot.ask("PATCH", fmt.Sprintf("%s/messages/%d", at, first), `{"text":"`+private+`, upstairs"}`, nil)
	pilot.post(at+"/messages", `{"text":"`+private+` again"}`)
	dm := pilot.post("/dms", `{"to":"@bob"}`)
	pilot.post(fmt.Sprintf("/rooms/%d/messages", dm), `{"text":"`+private+`"}`)
	pilot.post("/tickets", `{"subject":"`+private+`","body":"`+private+`"}`)
	bob.post(at+"/messages", `{"text":"bob was here"}`)
	w.until("all is mirrored", func() bool {
		s := w.stream()
		return strings.Count(s, private) >= 6 && strings.Contains(s, "bob was here")
	})
	const said = 4 // with what the ticket is about
	w.until("all is stored", func() bool { return w.count(`SELECT count(*) FROM messages WHERE user_id = $1`, pilot.ID) == said })

	who := "@pilot"
	for _, stop := range []struct{ table, when string }{
		{"messages", "NEW.handle LIKE 'Erased %'"},
		{"erasures", "NEW.step = 'tables'"},
		{"erasures", "NEW.step = 'log'"},
		{"erasures", "NEW.step = 'stream'"},
		{"erasures", "NEW.step = 'done'"},
	} {
		w.killAt(stop.table, stop.when, "user", "erase", who, "--yes")
		who = fmt.Sprint(pilot.ID)
	}
	again := w.person("Pilot") // the handle is another's by now
	if again.ID == pilot.ID {
		t.Fatal("who signs in again is the same user")
	}
	if out, ok := w.run("user", "erase", "@pilot", "--yes"); ok || !strings.Contains(out, "user erase "+who) {
		t.Errorf("by handle: %t %s", ok, out)
	}
	if out, ok := w.run("user", "erase", who, "--yes"); !ok || !strings.Contains(out, "is erased") {
		t.Fatalf("it does not go on: %s", out)
	}
	bob.post(at+"/messages", `{"text":"that is the end"}`) // what the log ends with may be erased
	w.until("what is told of it is stored", func() bool {
		return w.count(`SELECT count(*) FROM outbox`) == 0 && strings.Contains(w.stream(), "that is the end")
	})
	for where, all := range map[string]string{"PostgreSQL": w.tables(), "the log": w.log("that is the end"), "Redis": w.stream()} {
		if i := strings.Index(all, "Elm Street"); i >= 0 {
			t.Errorf("%s still has …%s…", where, all[max(0, i-300):min(len(all), i+100)])
		}
		if !strings.Contains(all, "bob was here") {
			t.Errorf("%s does not have what others have said", where)
		}
	}
	const told = `SELECT count(*) FROM events WHERE type = $2 AND position(convert_to('"user_id":' || $1::text || ',', 'UTF8') IN payload) > 0`
	for typ, want := range map[string]int{"chat.message.deleted": said, "room.member.left": 1} {
		w.until(fmt.Sprintf("%d of %s", want, typ), func() bool { return w.count(told, who, typ) >= want })
		if n := w.count(told, who, typ); n != want {
			t.Errorf("%d times %s, want %d", n, typ, want)
		}
	}
	again.ask("GET", "/auth/me", "", nil) // nobody has touched them
	if out, ok := w.run("user", "export", fmt.Sprint(again.ID)); !ok || !strings.Contains(out, "@Pilot") {
		t.Errorf("the new user: %s", out)
	}
}
