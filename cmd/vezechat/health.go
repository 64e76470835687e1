package main

import (
	"context"
	"encoding/json"
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

// check tells why a part of the process is not ready; nil when it is.
type check struct {
	name string
	fn   func(context.Context) error
}

const checkTimeout = 2 * time.Second

func (h *health) add(name string, fn func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, fn})
}

// names lists the checks.
func (h *health) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]string, len(h.checks))
	for i, c := range h.checks {
		names[i] = c.name
	}
	return names
}

// problems returns what is not ready, by the name of the part, and why.
func (h *health) problems(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	h.mu.Lock()
	checks := h.checks
	h.mu.Unlock()
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.fn(ctx) })
	}
	wg.Wait()
	out := map[string]string{}
	if !h.up.Load() {
		out["process"] = "starting or stopping"
	}
	for i, err := range errs {
		if err != nil {
			out[checks[i].name] = err.Error()
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
