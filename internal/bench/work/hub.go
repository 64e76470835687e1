package work

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/internal/bench/proc"
)

// quietEnv keeps what the environment says to a hub away from ours.
func quietEnv() []string {
	return []string{"ENV=dev", "NATS_URL=", "DATABASE_URL=", "REDIS_URL=", "OIDC_ISSUER=", "PUBLIC_URL=", "NATS_LISTEN=", "NATS_SYNC=",
		"NATS_REPLICAS=", "ROLES=", "PORT=", "DATA_DIR=", "LOG_LEVEL=", "OTEL_EXPORTER_OTLP_ENDPOINT=", "DOMAIN_GATE=", "AUTH_AUDIENCE="}
}

// serve runs the hub's program with roles and more flags.
func (w *World) serve(ctx context.Context, core int, dir, roles string, flags ...string) (*proc.Process, error) {
	args := append([]string{"serve", "--env", "dev", "--port", "0", "--data-dir", dir, "--log-level", "warn", "--roles", roles}, flags...)
	return proc.Start(ctx, core, "ready", quietEnv(), w.Hub, args...)
}

// startHub starts the hub in its form, with n rooms.
func (w *World) startHub(ctx context.Context, n int) (_ *server, err error) {
	w.hubs++
	name := fmt.Sprintf("bench_%d", w.hubs)
	dir := w.path(name)
	s := &server{proto: load.Veze{}}
	s.stop = func() { w.stopHub(s, dir, name) }
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if err := w.copyKey(dir); err != nil {
		return nil, err
	}
	db, err := w.database(ctx, name)
	if err != nil {
		return nil, err
	}
	ids, err := rooms(ctx, db, n)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		s.rooms = append(s.rooms, id.String())
	}
	if err := w.startForm(ctx, s, dir, db); err != nil {
		return nil, err
	}
	u, err := url.Parse(s.procs[0].Ready)
	if err != nil {
		return nil, err
	}
	s.addr = net.JoinHostPort("127.0.0.1", u.Port())
	return s, waitReady(ctx, s.addr)
}

// waitReady waits until an edge lets people in: storage has told it who is banned.
func waitReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the hub is not ready: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// startForm starts the processes; the edge is the first of those measured.
func (w *World) startForm(ctx context.Context, s *server, dir, db string) error {
	switch w.Form {
	case FormAll:
		p, err := w.serve(ctx, w.ServerCore, dir, "edge,storage,bridge", "--nats-listen", "off", "--database-url", db, "--redis-url", w.redis.URL())
		if err != nil {
			return err
		}
		s.procs = append(s.procs, p)
		return nil
	case FormApart:
		log, err := w.startLog(ctx, w.ServerCore, filepath.Join(dir, "log"))
		if err != nil {
			return err
		}
		s.procs = append(s.procs, log)
		edge, err := w.serve(ctx, w.ServerCore, dir, "edge", "--nats-url", log.Ready)
		if err != nil {
			return err
		}
		s.procs = append([]*proc.Process{edge}, s.procs...)
		s.nats = log.Ready
		return w.startStorage(ctx, s, dir, s.nats, db)
	case FormEdge:
		edge, err := w.serve(ctx, w.ServerCore, dir, "edge", "--nats-listen", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.procs = append(s.procs, edge)
		nats, err := os.ReadFile(filepath.Join(dir, "nats.url"))
		if err != nil {
			return err
		}
		s.nats = strings.TrimSpace(string(nats))
		return w.startStorage(ctx, s, dir, s.nats, db)
	}
	return fmt.Errorf("the hub has no form %q", w.Form)
}

func (w *World) startStorage(ctx context.Context, s *server, dir, nats, db string) (err error) {
	s.rest, err = w.serve(ctx, w.LoadCore, filepath.Join(dir, "storage"), "storage", "--nats-url", nats, "--database-url", db)
	return err
}

// startLog runs a NATS server as the hub does, with the log's streams.
func (w *World) startLog(ctx context.Context, core int, dir string) (*proc.Process, error) {
	return proc.Start(ctx, core, Ready, nil, w.Self, "peer", "-dir", dir, "jetstream")
}

// rest pauses or continues the hub's storage.
func (w *World) pause(s *server, on bool) error {
	if s.rest == nil || !w.Paused {
		return nil
	}
	if on {
		return s.rest.Pause()
	}
	return s.rest.Continue()
}

func (w *World) stopHub(s *server, dir, db string) {
	if s.rest != nil {
		s.rest.Stop()
	}
	for _, p := range s.procs {
		p.Stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	_, err := w.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+db+" WITH (FORCE)")
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		w.say("cleaning up: %v", err)
	}
}
