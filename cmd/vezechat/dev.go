package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/devstack"
	"vezeuniqverse.com/vezechat/internal/natsd"
)

// lockPart holds the data directory while servers run on it.
func (h *hub) lockPart() part {
	return part{"data directory", func(ctx context.Context, ready func()) error {
		l, err := devstack.Lock(h.DataDir)
		if err != nil {
			return err
		}
		// What a hub that was killed has left here speaks of servers that are gone.
		err = errors.Join(h.remove(hubFileName), h.remove(natsFileName))
		if err == nil {
			ready()
			<-ctx.Done()
		}
		return errors.Join(err, l.Unlock())
	}}
}

// natsPart is the NATS server in this process.
func (h *hub) natsPart() part {
	return part{"nats", func(ctx context.Context, ready func()) error {
		o := natsd.Options{Dir: h.file("nats"), Listen: h.NatsListen, SyncAlways: h.NatsSync == "always", Log: h.log, Metrics: h.reg, GameSubjects: vezechat.GameSubjects}
		var err error
		if o.Games, err = gameUsers(h.GameUsers); err != nil {
			return named("GAME_USERS", err)
		}
		o.BotSubjects = vezechat.BotSubjects
		if o.Bots, err = botUsers(h.BotUsers); err != nil {
			return named("BOT_USERS", err)
		}
		s, err := h.startNATS(ctx, o)
		if err != nil && ctx.Err() != nil {
			return nil // stopped before it was there
		}
		if err != nil {
			return err
		}
		defer s.Shutdown()
		h.nats = s
		if url := s.ClientURL(); url != "" {
			h.log.Info("nats listens", "url", url)
			if err := h.writeFile(natsFileName, []byte(s.URL()+"\n")); err != nil {
				return err
			}
		}
		ready()
		select {
		case <-ctx.Done():
		case err = <-s.Failed():
			err = fmt.Errorf("DATA_DIR: %w", err)
		}
		return errors.Join(err, h.remove(natsFileName))
	}}
}

// startNATS listens as the settings say. In dev, when they say nothing, it listens
// where NATS usually does, or, when that is taken, anywhere: the address is in
// the data directory.
func (h *hub) startNATS(ctx context.Context, o natsd.Options) (*natsd.Server, error) {
	switch {
	case o.Listen == "off", o.Listen == "" && !h.dev():
		o.Listen = ""
	case o.Listen == "":
		o.Listen = freeOr(ctx, "127.0.0.1:4222", "127.0.0.1:0")
	}
	return natsd.Start(ctx, o)
}

// freeOr returns addr when nobody listens there, else the other one.
func freeOr(ctx context.Context, addr, otherwise string) string {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return otherwise
	}
	if err := l.Close(); err != nil {
		return otherwise
	}
	return addr
}

// server is what devstack's servers have in common.
type server interface {
	Done() <-chan struct{}
	Stop(ctx context.Context) error
}

// devPart keeps one private server running: it starts it again when it dies.
func (h *hub) devPart(name string, start func(context.Context) (server, error)) part {
	return part{name, func(ctx context.Context, ready func()) error {
		s, err := start(ctx)
		if err != nil {
			return err
		}
		ready()
		for {
			select {
			case <-ctx.Done():
				stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer cancel()
				return s.Stop(stop)
			case <-s.Done():
			}
			h.log.Error("a private server ended, starting it again", "server", name)
			if s, err = h.again(ctx, name, start); err != nil {
				return err
			}
		}
	}}
}

// again starts a server until it runs; it gives up after a minute.
func (h *hub) again(ctx context.Context, name string, start func(context.Context) (server, error)) (server, error) {
	late := time.After(time.Minute)
	for {
		s, err := start(ctx)
		if err == nil {
			return s, nil
		}
		h.log.Error("a private server does not start", "server", name, "err", err)
		select {
		case <-ctx.Done():
			return stopped{}, nil
		case <-late:
			return nil, err
		case <-time.After(time.Second):
		}
	}
}

// stopped is a server that is not there any more.
type stopped struct{}

func (stopped) Done() <-chan struct{}      { return nil }
func (stopped) Stop(context.Context) error { return nil }

func (h *hub) postgresPart() part {
	return h.devPart("postgres", func(ctx context.Context) (server, error) {
		p, err := devstack.StartPostgres(ctx, devstack.Options{Dir: h.file("pg"), Log: h.log})
		if err == nil && h.DatabaseURL == "" { // the same after each start
			h.DatabaseURL = p.URL("vezechat")
		}
		return p, err
	})
}

func (h *hub) redisPart() part {
	return h.devPart("redis", func(ctx context.Context) (server, error) {
		r, err := devstack.StartRedis(ctx, devstack.Options{Dir: h.file("redis"), Log: h.log})
		if err == nil && h.RedisURL == "" { // the same after each start
			h.RedisURL = r.URL()
		}
		return r, err
	})
}
