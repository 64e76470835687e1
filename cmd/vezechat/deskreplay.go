package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/deskplay"
	"vezeuniqverse.com/vezechat/internal/svc"
)

// deskReplayCmd plays recorded support threads as tickets, and checks what came of
// them.
type deskReplayCmd struct {
	place
	File        string        `arg:"" help:"Lines of {id, queue, opened, resolution, turns: [{ts, role, text}]}; - is standard input."`
	Speed       float64       `default:"0" help:"How much faster than it was recorded; stretches above an hour are an hour. 0: as fast as it goes."`
	Agents      int           `default:"24" help:"Simulated agents who work at a time."`
	Deaths      int           `default:"0" help:"Agents who vanish meanwhile, and others come: the desk notices that after 105 seconds."`
	Limit       int           `help:"Play only the first so many threads; 0: all."`
	Seed        uint64        `default:"1" help:"Of what people do."`
	Settle      time.Duration `default:"5m" help:"How long the desk may take after the last ticket was opened."`
	NatsURL     string        `name:"nats-url" setting:"NATS_URL" secret:"" help:"Where the hub's services answer; empty: those of the hub on DATA_DIR."`
	DatabaseURL string        `name:"database-url" setting:"DATABASE_URL" secret:"" help:"Where to check what was stored; empty: the hub's own."`
}

// Help is shown below the flags.
func (deskReplayCmd) Help() string {
	return `Each brand is a queue and a skill, each thread a ticket: its requester opens it and
writes on, an agent takes it, answers as it was answered, and solves it. Agents
accept, decline and let pass by the seed. Then PostgreSQL and the services are
read: every thread was handled; every message is there once; an agent got a ticket
by one offer, one change and one event; no ticket had two agents at a time; nobody
had more than they have units for, at any moment; counters are recounts; histories
replay to what is; clocks are late by what was said, and tell it once. Exit status
1 if not. Queues and skills are called "replay BRAND", their policy "replay", and
stay.

Examples:
  vezechat desk-replay tickets.jsonl
  vezechat desk-replay tickets.jsonl --agents 12 --limit 100
  vezechat desk-replay tickets.jsonl --deaths 3 --nats-url nats://localhost:4222 --database-url postgres://localhost/vezechat`
}

// Run is called by kong.
func (c *deskReplayCmd) Run(ctx context.Context, s streams) error {
	threads, err := c.read(s.in)
	if err != nil {
		return err
	}
	h, err := c.readHub()
	if err != nil {
		return err
	}
	nats, database := first(c.NatsURL, h.NatsURL), first(c.DatabaseURL, h.DatabaseURL)
	if nats == "" || database == "" {
		return fmt.Errorf("no hub runs on DATA_DIR %s: start one with vezechat serve, or give --nats-url and --database-url", c.DataDir)
	}
	db, err := parsePostgres(database)
	if err != nil {
		return err
	}
	b, err := bus.Connect(ctx, bus.Config{URL: nats, Name: "vezechat-desk-replay", Log: slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn})), Metrics: prometheus.NewRegistry()})
	if err != nil {
		return named("NATS_URL", err)
	}
	defer b.Close()
	hub := svc.NewClient(b)
	bar := newBar(s.err, len(threads), "")
	defer bar.Close()
	r, err := deskplay.Play(ctx, deskplay.Config{
		Hub:     deskplay.Hub{Users: hub, Tickets: hub, Desk: hub, Log: b, Database: db},
		Threads: threads, Speed: c.Speed, Agents: c.Agents, Deaths: c.Deaths, Settle: c.Settle, Seed: c.Seed,
		Step: func(what string, done, _ int) { bar.Describe(what); _ = bar.Set(done) },
	})
	if err != nil {
		return err
	}
	r.Print(s.out)
	if !r.Good() {
		return errDeskDiffers
	}
	return nil
}

var errDeskDiffers = errors.New("the desk differs from what it promises, see the report")

// Validate is called by kong.
func (c *deskReplayCmd) Validate() error {
	if c.Agents < 1 || c.Agents > 500 || c.Deaths < 0 || c.Speed < 0 || c.Settle <= 0 {
		return errors.New("--agents is 1 to 500; --deaths, --speed and --settle are not below 0")
	}
	return c.place.Validate()
}

func (c *deskReplayCmd) read(stdin io.Reader) ([]deskplay.Thread, error) {
	in := stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	threads, err := deskplay.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	if c.Limit > 0 {
		threads = threads[:min(c.Limit, len(threads))]
	}
	return threads, nil
}
