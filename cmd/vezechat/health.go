package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health is what a process says of itself: alive, ready and if not why, and its
// counters. It is safe for concurrent use.
type health struct {
	gatherer prometheus.Gatherer
	up       atomic.Bool // everything has started, and no stop has begun

	mu     sync.Mutex
	checks []check
}

// check tells why a part of the process is not ready; nil when it is. The process
// serves without an optional one, not as well.
type check struct {
	name     string
	optional bool
	fn       func(context.Context) error
}

// result is what a check came to.
type result struct {
	name     string
	optional bool
	err      error
}

const checkTimeout = 2 * time.Second

func (h *health) add(name string, optional bool, fn func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, optional, fn})
}

// results asks every part, side by side, for 2 s at most.
func (h *health) results(ctx context.Context) []result {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	h.mu.Lock()
	checks := h.checks
	h.mu.Unlock()
	out := make([]result, len(checks)+1)
	out[0] = result{name: "process"}
	if !h.up.Load() {
		out[0].err = errNotUp
	}
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { out[i+1] = result{c.name, c.optional, c.fn(ctx)} })
	}
	wg.Wait()
	return out
}

var errNotUp = errors.New("starting or stopping")

// problems returns what is not ready, by the name of the part, and why.
func (h *health) problems(ctx context.Context) map[string]string {
	out := map[string]string{}
	for _, r := range h.results(ctx) {
		if r.err != nil {
			out[r.name] = r.err.Error()
		}
	}
	return out
}

// routes serves /livez, /readyz, /health and /metrics, for a process without an
// edge; an edge serves them beside its own.
func (h *health) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if p := h.problems(r.Context()); len(p) > 0 {
			writeJSON(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "parts": p})
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.gatherer, promhttp.HandlerOpts{}))
	return mux
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone; nobody else cares
}
